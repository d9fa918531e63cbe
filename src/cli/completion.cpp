#include <set>

#include "lowmem/config/help.h"
#include "lowmem/config/overrides.h"
#include "usage.h"

namespace lowmem::cli {
namespace {

constexpr char kKeys[] = "KEYS", kFiles[] = "FILES";

std::string joined(const std::vector<std::string>& words, const char* between = " ") {
  std::string text;
  for (const std::string& word : words) (text += text.empty() ? "" : between) += word;
  return text;
}

// A branch of a shell `case` that prints `words`.
std::string branch(const std::string& pattern, const std::string& words) {
  return "    " + pattern + ") echo '" + words + "' ;;\n";
}

// What the shell may offer for a text.
std::string offered(const std::vector<std::string>& words, const std::string& type) {
  const bool file =
      type.starts_with("FILE") || type.starts_with("DIR") || type.starts_with("TEXT");
  return words.empty() && file ? kFiles : joined(words);
}

std::string offered(const KeyInfo& key) {
  return offered(key.words, key.type.starts_with("text") ? "TEXT" : "");
}

std::vector<const CLI::App*> with_program(const CLI::App& program) {
  std::vector<const CLI::App*> all = commands_of(program);
  all.insert(all.begin(), &program);
  return all;
}

// The program itself is the command of no name.
std::string name_of(const CLI::App& command) {
  return command.get_parent() == nullptr ? "''" : command.get_name();
}

std::string options_function(const CLI::App& program) {
  std::string text = "_lowmem_train_options() {  # of a command\n  case $1 in\n";
  for (const CLI::App* command : with_program(program)) {
    std::vector<std::string> names;
    for (const CLI::Option* option : options_of(*command))
      for (const std::string& name : names_of(*option)) names.push_back(name);
    text += branch(name_of(*command), joined(names));
  }
  return text + "  esac\n}\n";
}

std::string arguments_function(const CLI::App& program) {
  std::string text = "_lowmem_train_arguments() {  # of a command\n  case $1 in\n";
  for (const CLI::App* command : with_program(program)) {
    for (const CLI::Option* option : arguments_of(*command)) {
      const bool keys = value_of(*option) == "KEY=VALUE";
      text += branch(name_of(*command),
                     keys ? kKeys : offered(words_of(*option), value_of(*option)));
      break;  // all arguments of a command are of one kind
    }
  }
  return text + "  esac\n}\n";
}

std::string values_function(const CLI::App& program) {
  std::string text =
      "_lowmem_train_values() {  # of an option or a key; fails where it has none\n"
      "  case $1 in\n";
  std::set<std::string> seen;
  for (const CLI::App* command : with_program(program))
    for (const CLI::Option* option : options_of(*command)) {
      const std::string value = value_of(*option);
      const std::string names = joined(names_of(*option), " | ");
      if (!value.empty() && seen.insert(names).second)
        text += branch(names, offered(words_of(*option), value));
    }
  for (const KeyInfo& key : config_keys()) text += branch(key.name, offered(key));
  return text + "    *) return 1 ;;\n  esac\n}\n";
}

std::string lists(const CLI::App& program) {
  std::vector<std::string> commands, keys, sections;
  for (const CLI::App* command : commands_of(program))
    commands.push_back(command->get_name());
  for (const KeyInfo& key : config_keys()) {
    keys.push_back(key.name + "=");
    const std::string section = key.name.substr(0, key.name.find('.') + 1);
    if (sections.empty() || sections.back() != section) sections.push_back(section);
  }
  return "_lowmem_train_commands='" + joined(commands) + "'\n_lowmem_train_keys='" +
         joined(keys) + "'\n_lowmem_train_sections='" + joined(sections) + "'\n";
}

constexpr char kBegin[] =
    "# Completion of lowmem-train for bash: `lowmem-train completion bash` printed it.\n";

// COMP_WORDBREAKS usually has `=`: bash then cuts `key=value` in three, and replaces what
// stands behind the `=` alone.
constexpr char kFunctions[] = R"bash(
_lowmem_train_offer() {  # WORDS, the word begun, what goes before each
  local i
  if [[ $1 == FILES ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$2")
  else
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
  fi
  for i in "${!COMPREPLY[@]}"; do COMPREPLY[i]=$3${COMPREPLY[i]}; done
  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[.=] && $1 != FILES ]]; then
    compopt -o nospace 2>/dev/null
  fi
}

_lowmem_train_value() {  # NAME, the value begun, what goes before it
  local before=$3 value=$2 words
  words=$(_lowmem_train_values "$1") || return
  if [[ $words == FILES && $value == *,* ]]; then  # a list
    before+=${value%,*},
    value=${value##*,}
  fi
  _lowmem_train_offer "$words" "$value" "$before"
}

_lowmem_train() {
  COMPREPLY=()
  # The words as typed: those that only COMP_WORDBREAKS parted are one.
  local -a words=()
  local rest=$COMP_LINE word i
  for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
    if [[ ${#words[@]} -eq 0 || $rest == [[:space:]]* ]]; then
      words+=("$word")
    else
      words[${#words[@]}-1]+=$word
    fi
    rest=${rest#*"$word"}
  done
  local last=$((${#words[@]} - 1)) command='' arguments=0
  local current=${words[last]} previous=${words[last-1]}
  for ((i = 1; i < last; ++i)); do
    word=${words[i]}
    if [[ $word == -* ]]; then
      # An option's value is no argument.
      if [[ $word != *=* ]] && _lowmem_train_values "$word" >/dev/null; then
        i=$((i + 1))
      fi
    elif [[ $arguments -eq 0 && -z $command &&
      " $_lowmem_train_commands " == *" $word "* ]]; then
      command=$word
    else
      arguments=$((arguments + 1))
    fi
  done

  if [[ $previous == -* && $previous != *=* ]] &&
    _lowmem_train_values "$previous" >/dev/null; then
    _lowmem_train_value "$previous" "$current" ''
  elif [[ $current == *=* ]]; then
    local before=${current%%=*}=
    [[ $COMP_WORDBREAKS != *=* ]] || before=''
    _lowmem_train_value "${current%%=*}" "${current#*=}" "$before"
  elif [[ $current == -* ]]; then
    _lowmem_train_offer "$(_lowmem_train_options "$command")" "$current" ''
  else
    local offers
    offers=$(_lowmem_train_arguments "$command")
    if [[ $offers == KEYS ]]; then
      offers=$_lowmem_train_sections
      [[ $current != *.* ]] || offers=$_lowmem_train_keys
      [[ -n $command || $arguments -gt 0 ]] || offers+=" $_lowmem_train_commands"
    fi
    _lowmem_train_offer "$offers" "$current" ''
  fi
}
complete -F _lowmem_train lowmem-train
)bash";

}  // namespace

std::string bash_completion(const CLI::App& program) {
  return kBegin + lists(program) + options_function(program) +
         arguments_function(program) + values_function(program) + kFunctions;
}

}  // namespace lowmem::cli

#include "lowmem/config/help.h"

#include <algorithm>
#include <type_traits>

#include "config/keys.h"
#include "config/values.h"

namespace lowmem {
namespace {

constexpr size_t kDocColumn = 36;

template <class Value>
std::vector<std::string> words_for(const Value& value);

template <ChoiceEnum Enum>
std::vector<std::string> words_for(const OrCount<Enum>& value) {
  return words_for(value.word);
}

template <ChoiceEnum Enum>
std::vector<std::string> words_for(const OrText<Enum>& value) {
  return words_for(value.word);
}

template <class Value>
std::vector<std::string> words_for(const Value& value) {
  if constexpr (ChoiceEnum<Value>) {
    std::vector<std::string> words;
    for (const auto& choice : choices(value)) words.emplace_back(choice.word);
    return words;
  } else if constexpr (std::is_same_v<Value, bool>) {
    return {"true", "false"};
  } else if constexpr (std::is_same_v<Value, AutoDouble>) {
    return {"auto"};
  } else if constexpr (std::is_same_v<Value, Interval>) {
    return {"epoch", "never"};
  } else {
    return {};
  }
}

// Types that the default and the doc do not already tell.
bool worth_a_line(const std::string& type) {
  return type.find('|') != std::string::npos && type != type_name(bool()) &&
         type != type_name(AutoDouble());
}

// Calls use(section, doc, keys) for each section.
template <class Use>
void for_each_section(Use&& use) {
  const std::vector<KeyInfo> keys = config_keys();
  RunConfig().visit([&](const std::string& section, auto&, const char* doc) {
    std::vector<KeyInfo> own;
    std::copy_if(keys.begin(), keys.end(), std::back_inserter(own),
                 [&](const KeyInfo& key) { return key.name.starts_with(section + "."); });
    use(section, std::string(doc), own);
  });
}

std::string code(const std::string& text) { return "`" + text + "`"; }

// "number, `auto`": its words as code, what stands for any number or text as it is.
std::string values_cell(const KeyInfo& key) {
  std::string cell;
  for (size_t begin = 0; begin != std::string::npos;) {
    const size_t bar = key.type.find(" | ", begin);
    const std::string part = key.type.substr(begin, bar - begin);
    const bool word =
        std::find(key.words.begin(), key.words.end(), part) != key.words.end();
    (cell += cell.empty() ? "" : ", ") += word ? code(part) : part;
    begin = bar == std::string::npos ? bar : bar + 3;
  }
  return cell;
}

std::string sentence(std::string text) {
  if (text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text + ".";
}

// A table's cell may hold no bar, and a star would begin emphasis.
std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '|' || c == '*') result += '\\';
    result += c;
  }
  return result;
}

const char* what_may_change(Alters alters) {
  switch (alters) {
    case Alters::kNothing:
    case Alters::kPlace:
      return "nothing";
    case Alters::kLog:
      return "the log";
    case Alters::kChance:
      return "the draw";
    case Alters::kCost:
      return "memory, time";
    case Alters::kLength:
      return "the length";
    case Alters::kRounding:
      return "last bits";
    case Alters::kResult:
      break;
  }
  return "the result";
}

}  // namespace

std::vector<KeyInfo> config_keys() {
  std::vector<KeyInfo> keys;
  RunConfig defaults;
  for_each_key(defaults,
               [&](const std::string& name, const auto& value, const KeyFacts& facts) {
                 keys.push_back({name, type_name(value), words_for(value),
                                 format_value(value), facts.alters, facts.doc});
               });
  return keys;
}

std::string wrapped(const std::string& text, size_t column, size_t indent) {
  std::string result;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const size_t size = end - begin;
    if (begin > 0) {
      const bool fits = column + 1 + size <= kHelpWidth;
      result += fits ? " " : "\n" + std::string(indent, ' ');
      column = fits ? column + 1 : indent;
    }
    result.append(text, begin, size);
    column += size;
    begin = end + 1;
  }
  return result;
}

std::string config_help() {
  std::string help;
  for_each_section([&](const std::string& section, const std::string& section_doc,
                       const std::vector<KeyInfo>& keys) {
    (help += help.empty() ? "" : "\n") += section + ": " + section_doc + "\n";
    for (const KeyInfo& key : keys) {
      std::string line = "  " + key.name + "=" + key.default_value;
      line.resize(std::max(line.size() + 2, kDocColumn), ' ');
      help += line + wrapped(key.doc, line.size(), kDocColumn) + "\n";
      if (worth_a_line(key.type))
        help += std::string(kDocColumn, ' ') + wrapped(key.type, kDocColumn, kDocColumn) +
                "\n";
    }
  });
  return help;
}

std::string config_markdown() {
  std::string page;
  for_each_section([&](const std::string& section, const std::string& section_doc,
                       const std::vector<KeyInfo>& keys) {
    (page += page.empty() ? "" : "\n") +=
        "### " + section + "\n\n" + escaped(sentence(section_doc)) +
        "\n\n| key | default | values | meaning | may change |\n|---|---|---|---|---|\n";
    for (const KeyInfo& key : keys)
      page += "| " + code(key.name) + " | " + code(key.default_value) + " | " +
              values_cell(key) + " | " + escaped(key.doc) + " | " +
              what_may_change(key.alters) + " |\n";
  });
  return page;
}

}  // namespace lowmem

#include "lowmem/config/help.h"
#include "lowmem/core/version.h"
#include "usage.h"

namespace lowmem::cli {
namespace {

// `text` for troff: its escape character, hyphens that stay ASCII, and no line that
// begins like a request.
std::string escaped(const std::string& text) {
  std::string result;
  if (text.starts_with('.') || text.starts_with('\'')) result = "\\&";
  for (const char c : text) {
    if (c == '\\')
      result += "\\e";
    else if (c == '-')
      result += "\\-";
    else
      result += c;
  }
  return result;
}

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

std::string tagged(const Entry& entry) {
  return ".TP\n.B " + escaped(entry.term) + "\n" + escaped(entry.meaning) + "\n";
}

// Lines that stay as they are, in the examples.
std::string verbatim(const std::vector<std::string>& lines) {
  std::string text = ".PP\n.nf\n";
  for (const std::string& line : lines) text += escaped(line) + "\n";
  return text + ".fi\n";
}

std::string command_section(const CLI::App& command) {
  const Usage usage = usage_of(command);
  std::string section = ".SS " + escaped(command.get_name()) + "\n" +
                        escaped(usage.about) + "\n" + verbatim(usage.lines);
  for (const Part& part : usage.parts)
    if (part.title == "Arguments" || part.title == kOwn)
      for (const Entry& entry : part.entries) section += tagged(entry);
  return section + ".PP\nExample:\n" + verbatim(usage.examples);
}

std::string keys_section() {
  std::string section = ".SH CONFIGURATION KEYS\nFor the YAML file, and as KEY=VALUE.\n";
  for (const KeyInfo& key : config_keys())
    section += tagged({key.name + "=" + key.default_value,
                       key.doc + (key.words.empty() ? "" : " (" + key.type + ")")});
  return section;
}

}  // namespace

std::string man_page(const CLI::App& program) {
  const Usage usage = usage_of(program);
  std::string page =
      std::string(".TH LOWMEM\\-TRAIN 1 \"\" \"lowmem-train ") + version() +
      "\" \"User Commands\"\n.SH NAME\nlowmem\\-train \\- fine\\-tunes all weights of a "
      "Llama in little more memory than the weights\n.SH SYNOPSIS\n" +
      verbatim(usage.lines);
  page +=
      ".SH DESCRIPTION\nTrains on JSONL files, evaluates, and writes a folder that "
      "transformers loads. Without a command it trains. A run is described by a YAML "
      "file; "
      "KEY=VALUE goes over it.\n";
  for (const Part& part : usage.parts) {
    if (part.title == "Commands") continue;
    page += ".SH " + upper(part.title) + "\n";
    for (const Entry& entry : part.entries) page += tagged(entry);
  }
  page += ".SH COMMANDS\n";
  for (const CLI::App* command : commands_of(program)) page += command_section(*command);
  return page + keys_section() + ".SH EXAMPLES\n" + verbatim(usage.examples);
}

}  // namespace lowmem::cli

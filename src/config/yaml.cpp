#include "lowmem/config/yaml.h"

#include <algorithm>
#include <utility>

#include "config/keys.h"
#include "config/nearest.h"
#include "config/values.h"
#include "config/yaml_tree.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/plain_text.h"
#include "lowmem/core/units.h"

namespace lowmem {
namespace {

[[noreturn]] void refuse_key(const std::string& key, int line,
                             const std::string& source) {
  throw Error(at_line(source, line), "unknown key " + shown(key), key_remedy(key));
}

void read_section(RunConfig& config, const YamlNode::Member& section,
                  const std::string& source) {
  if (section.value.kind == YamlNode::Kind::kNull) return;  // all its lines commented out
  if (section.value.kind != YamlNode::Kind::kMap)
    throw Error(at_line(source, section.line),
                section.key + " is a section, so it has keys and no value of its own",
                "Write its keys on indented lines below it, as in `  key: value`");
  for (const YamlNode::Member& member : section.value.members) {
    const std::string key = section.key + "." + member.key;
    if (!read_key(config, key, member.value, at_line(source, member.line) + ": " + key))
      refuse_key(key, member.line, source);
  }
}

}  // namespace

RunConfig load_config(const std::filesystem::path& path) {
  RunConfig config;
  apply_yaml(config, read_file(path, kMiB), path.string());
  return config;
}

void apply_yaml(RunConfig& config, std::string_view text, const std::string& source) {
  // The parser would replace it, and a path would be another. (Of UTF-16 and UTF-32,
  // which begin with a mark, it makes UTF-8.)
  const bool marked = text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff") ||
                      text.starts_with(std::string_view("\0\0\xfe\xff", 4));
  if (const size_t at = marked ? text.npos : find_not_utf8(text); at != text.npos)
    throw Error(at_line(source, 1 + static_cast<int>(std::count(
                                        text.begin(), text.begin() + at, '\n'))),
                "is not UTF-8",
                "Save the file as UTF-8; a path that is not may be given on the command "
                "line");
  const YamlNode root = parse_yaml(text, source);
  if (root.kind == YamlNode::Kind::kNull) return;
  if (root.kind != YamlNode::Kind::kMap)
    throw Error(at_line(source, root.line), "expected sections with keys",
                "Write `section:`, and below it indented `key: value` lines with a space "
                "after the colon");
  RunConfig result = config;
  for (const YamlNode::Member& member : root.members) {
    if (!is_section(member.key)) refuse_key(member.key, member.line, source);
    read_section(result, member, source);
  }
  config = std::move(result);
}

std::string to_yaml(const RunConfig& config) {
  std::string yaml;
  RunConfig copy = config;
  copy.visit([&](const std::string& section_name, auto& section, const char*) {
    yaml += section_name + ":\n";
    section.visit([&](const std::string& name, const auto& value, Alters, const char*) {
      yaml += "  " + name + ": " + format_value(value) + "\n";
    });
  });
  return yaml;
}

}  // namespace lowmem

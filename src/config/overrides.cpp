#include "lowmem/config/overrides.h"

#include <map>
#include <type_traits>
#include <utility>

#include "config/keys.h"
#include "config/nearest.h"
#include "config/values.h"
#include "config/yaml_tree.h"
#include "lowmem/core/error.h"
#include "lowmem/core/log.h"

namespace lowmem {
namespace {

YamlNode literal(std::string_view text) {
  YamlNode node;
  node.kind = YamlNode::Kind::kScalar;
  node.text = text;
  return node;
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

YamlNode split_at_commas(std::string_view text) {
  YamlNode list;
  list.kind = YamlNode::Kind::kList;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    list.items.push_back(literal(trimmed(text.substr(0, comma))));
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return list;
}

YamlNode parse(std::string_view value, const std::string& where) {
  if (value.empty() || std::string_view("[\"'").find(value[0]) == std::string_view::npos)
    return literal(value);
  try {
    return parse_yaml(value, where);
  } catch (const Error&) {
    throw Error(where, "is not a valid YAML list or quoted text",
                "Close the bracket or quote, and keep the shell from taking it: "
                "'key=[\"a\", \"b\"]'");
  }
}

}  // namespace

Assignment assignment_of(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || trimmed(text.substr(0, equals)).empty())
    throw Error(shown(text), "is not of the form section.key=value",
                "Write it like optimizer.lr=1.0e-4");
  return {std::string(trimmed(text.substr(0, equals))),
          std::string(trimmed(text.substr(equals + 1)))};
}

void apply_override(RunConfig& config, std::string_view assignment) {
  const auto [key, value] = assignment_of(assignment);
  set_key(config, key, value);
}

void set_keys(RunConfig& config, const std::vector<Assignment>& assignments) {
  std::map<std::string_view, std::string_view> given;
  for (const auto& [key, value] : assignments) {
    set_key(config, key, value);
    const auto [before, is_new] = given.emplace(key, value);
    if (is_new || before->second == value) continue;
    log::warn(shown(key) + " is given twice, as " + shown(before->second) + " and as " +
              shown(value) + ": the last one counts");
    before->second = value;
  }
}

void set_key(RunConfig& config, std::string_view key, std::string_view value) {
  value = trimmed(value);
  const std::string where = shown(key) + "=" + shown(value);
  const YamlNode node = parse(value, where);
  RunConfig result = config;
  bool known = false;
  for_each_key(result, [&](const std::string& name, auto& target, KeyFacts) {
    if (name != key) return;
    known = true;
    const bool list = std::is_same_v<decltype(target), StringList&>;
    const bool plain = node.kind == YamlNode::Kind::kScalar && !node.quoted;
    read_value(list && plain ? split_at_commas(value) : node, where, target);
  });
  if (!known && is_section(key))
    throw Error(where, "is a section, not a key",
                "Name one of its keys, as in optimizer.lr=1.0e-4");
  if (!known) throw Error(where, "unknown key " + shown(key), key_remedy(key));
  config = std::move(result);
}

}  // namespace lowmem

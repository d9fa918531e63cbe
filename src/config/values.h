#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/yaml_tree.h"
#include "lowmem/config/run_config.h"

// Each type that a key may have: how it is read from YAML, written back, and named in
// help.
namespace lowmem {

// Reads `node` into `value`. `where` names the key and its place in errors, e.g.
// "lowmem.yaml line 7: optimizer.lr".
void read_value(const YamlNode& node, const std::string& where, std::string& value);
void read_value(const YamlNode& node, const std::string& where, StringList& value);
void read_value(const YamlNode& node, const std::string& where, int64_t& value);
void read_value(const YamlNode& node, const std::string& where, double& value);
void read_value(const YamlNode& node, const std::string& where, AutoDouble& value);
void read_value(const YamlNode& node, const std::string& where, bool& value);
void read_value(const YamlNode& node, const std::string& where, Interval& value);

// The value as YAML that reads back equal.
std::string format_value(const std::string& value);
std::string format_value(const StringList& value);
std::string format_value(int64_t value);
std::string format_value(double value);
std::string format_value(const AutoDouble& value);
std::string format_value(bool value);
std::string format_value(const Interval& value);

// For help: "number", "true | false".
std::string type_name(const std::string&);
std::string type_name(const StringList&);
std::string type_name(int64_t);
std::string type_name(double);
std::string type_name(const AutoDouble&);
std::string type_name(bool);
std::string type_name(const Interval&);

// The index in `words` of the node's word, in any case. `also`: what else is expected.
size_t read_word(const YamlNode& node, const std::string& where,
                 const std::vector<std::string_view>& words, const char* also = "");
// The same where there is one.
std::optional<size_t> find_word(const YamlNode& node,
                                const std::vector<std::string_view>& words);
// "a | b | c"
std::string join_words(const std::vector<std::string_view>& words);

template <ChoiceEnum Enum>
std::vector<std::string_view> words_of() {
  std::vector<std::string_view> words;
  for (const auto& choice : choices(Enum{})) words.push_back(choice.word);
  return words;
}

template <ChoiceEnum Enum>
void read_value(const YamlNode& node, const std::string& where, Enum& value) {
  value = choices(Enum{})[read_word(node, where, words_of<Enum>())].value;
}
template <ChoiceEnum Enum>
std::string format_value(Enum value) {
  return std::string(word_of(value));
}
template <ChoiceEnum Enum>
std::string type_name(Enum) {
  return join_words(words_of<Enum>());
}

// Whether a node is written like a number.
bool begins_as_number(const YamlNode& node);

template <ChoiceEnum Enum>
void read_value(const YamlNode& node, const std::string& where, OrCount<Enum>& value) {
  if (begins_as_number(node)) {
    int64_t count = 0;
    read_value(node, where, count);
    value = OrCount<Enum>::of(count);
  } else {
    value =
        choices(Enum{})[read_word(node, where, words_of<Enum>(), " | a number")].value;
  }
}
template <ChoiceEnum Enum>
std::string format_value(const OrCount<Enum>& value) {
  return value.count ? std::to_string(*value.count) : format_value(value.word);
}
template <ChoiceEnum Enum>
std::string type_name(const OrCount<Enum>& value) {
  return type_name(value.word) + " | number";
}

template <ChoiceEnum Enum>
void read_value(const YamlNode& node, const std::string& where, OrText<Enum>& value) {
  if (const auto word = find_word(node, words_of<Enum>())) {
    value = choices(Enum{})[*word].value;
    return;
  }
  std::string text;
  read_value(node, where, text);
  // Nothing names nothing: an error that says the words.
  if (text.empty()) read_word(node, where, words_of<Enum>(), " | a name | a path");
  value = OrText<Enum>::of(std::move(text));
}
template <ChoiceEnum Enum>
std::string format_value(const OrText<Enum>& value) {
  return value.text.empty() ? format_value(value.word) : format_value(value.text);
}
template <ChoiceEnum Enum>
std::string type_name(const OrText<Enum>& value) {
  return type_name(value.word) + " | name | path";
}

// A text of the user's for an error message: control characters replaced, cut at 60
// bytes.
std::string shown(std::string_view text);

}  // namespace lowmem

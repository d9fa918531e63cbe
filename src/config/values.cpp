#include "config/values.h"

#include <yaml-cpp/binary.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <system_error>

#include "config/nearest.h"
#include "lowmem/core/error.h"
#include "lowmem/core/plain_text.h"

namespace lowmem {
namespace {

std::string found(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "keys below it";
    case YamlNode::Kind::kScalar:
      break;
  }
  return (node.quoted ? "the quoted text \"" : "\"") + shown(node.text) + "\"";
}

[[noreturn]] void refuse(const YamlNode& node, const std::string& where,
                         const std::string& expected, const std::string& remedy) {
  throw Error(where, "expected " + expected + ", found " + found(node), remedy);
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

bool plain(const YamlNode& node) {
  return node.kind == YamlNode::Kind::kScalar && !node.quoted;
}

// The whole of a plain scalar as a number; std::errc{} when it is one.
template <class Number>
std::errc parse_number(const YamlNode& node, Number& value) {
  if (!plain(node)) return std::errc::invalid_argument;
  std::string_view text = node.text;
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value);
  return end == text.data() + text.size() ? error : std::errc::invalid_argument;
}

bool not_finite(const std::string& word) {
  return word == ".nan" || word == ".inf" || word == "-.inf" || word == "+.inf";
}

// Texts that other YAML readers take for something else when they are not quoted.
bool reserved(const std::string& word) {
  static constexpr std::string_view kWords[] = {
      "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"};
  return std::find(std::begin(kWords), std::end(kWords), word) != std::end(kWords);
}

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool needs_quotes(const std::string& text) {
  if (text.empty() || !(letter(text[0]) || text[0] == '/')) return true;
  const bool bare = std::all_of(text.begin(), text.end(), [](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '/' ||
           c == '-';
  });
  return !bare || reserved(lower(text));
}

// The number of a character of two or three bytes, of those that are not plain.
unsigned code_of(std::string_view character) {
  unsigned code = static_cast<unsigned char>(character[0]) & (0x7fu >> character.size());
  for (const char c : character.substr(1))
    code = code << 6 | (static_cast<unsigned char>(c) & 0x3fu);
  return code;
}

}  // namespace

void read_value(const YamlNode& node, const std::string& where, std::string& value) {
  if (node.kind == YamlNode::Kind::kNull)
    refuse(node, where, "a text", "Write one, or \"\" for the empty text");
  if (node.kind != YamlNode::Kind::kScalar)
    refuse(node, where, "one text", "Write a single text after the colon");
  value = node.text;
}

void read_value(const YamlNode& node, const std::string& where, StringList& value) {
  if (node.kind == YamlNode::Kind::kScalar) {
    value.clear();
    if (!node.text.empty()) value.push_back(node.text);
    return;
  }
  if (node.kind != YamlNode::Kind::kList)
    refuse(node, where, "a text or a list of texts",
           "Write one text, or [first, second]");
  StringList texts;
  for (const YamlNode& item : node.items) {
    if (item.kind != YamlNode::Kind::kScalar)
      refuse(item, where, "texts in the list", "Write it like [first, second]");
    texts.push_back(item.text);
  }
  value = std::move(texts);
}

void read_value(const YamlNode& node, const std::string& where, int64_t& value) {
  int64_t number = 0;
  const std::errc error = parse_number(node, number);
  if (error == std::errc::result_out_of_range)
    refuse(node, where, "an integer of at most 64 bits", "Write a smaller number");
  if (error != std::errc{})
    refuse(node, where, "an integer",
           "Write it in digits and without quotes, such as 100");
  value = number;
}

void read_value(const YamlNode& node, const std::string& where, double& value) {
  double number = 0;
  const std::errc error = parse_number(node, number);
  const bool special = plain(node) && not_finite(lower(node.text));
  if (special || (error == std::errc{} && !std::isfinite(number)))
    refuse(node, where, "a finite number", "Write a number such as 0.5 or 1.0e-4");
  if (error == std::errc::result_out_of_range)
    refuse(node, where, "a number that a double can hold",
           "Write one between 1.0e-300 and 1.0e+300, or 0");
  if (error != std::errc{})
    refuse(node, where, "a number", "Write it without quotes, such as 0.5 or 1.0e-4");
  value = number;
}

void read_value(const YamlNode& node, const std::string& where, AutoDouble& value) {
  if (node.kind == YamlNode::Kind::kScalar && lower(node.text) == "auto") {
    value = std::nullopt;
    return;
  }
  double number = 0;
  if (parse_number(node, number) == std::errc::invalid_argument &&
      !not_finite(lower(node.text)))
    refuse(node, where, "a number or auto", "Write it such as 0.99, or auto");
  read_value(node, where, number);
  value = number;
}

void read_value(const YamlNode& node, const std::string& where, bool& value) {
  const std::string word = plain(node) ? lower(node.text) : "";
  if (word != "true" && word != "false")
    refuse(node, where, "true or false", "Write one of the two, without quotes");
  value = word == "true";
}

void read_value(const YamlNode& node, const std::string& where, Interval& value) {
  const std::string word = node.kind == YamlNode::Kind::kScalar ? lower(node.text) : "";
  int64_t steps = 0;
  if (word == "never") {
    value = Interval::never();
  } else if (word == "epoch") {
    value = Interval::epoch();
  } else if (parse_number(node, steps) == std::errc{} && steps >= 1) {
    value = Interval::every(steps);
  } else {
    refuse(node, where, "epoch, never or a number of steps from 1",
           "Write one of them, such as 100 for every 100 steps");
  }
}

std::optional<size_t> find_word(const YamlNode& node,
                                const std::vector<std::string_view>& words) {
  const std::string word = node.kind == YamlNode::Kind::kScalar ? lower(node.text) : "";
  const auto match = std::find(words.begin(), words.end(), word);
  if (match == words.end()) return std::nullopt;
  return static_cast<size_t>(match - words.begin());
}

size_t read_word(const YamlNode& node, const std::string& where,
                 const std::vector<std::string_view>& words, const char* also) {
  if (const auto found = find_word(node, words)) return *found;
  const std::string word = node.kind == YamlNode::Kind::kScalar ? lower(node.text) : "";
  const std::string_view nearest = nearest_word(word, words);
  if (words.size() == 1)
    refuse(node, where, std::string(words[0]),
           "Write " + std::string(words[0]) + ", the only choice");
  refuse(node, where, join_words(words) + also,
         nearest.empty() ? "Write one of these words"
                         : "The nearest is " + std::string(nearest));
}

std::string join_words(const std::vector<std::string_view>& words) {
  std::string joined;
  for (std::string_view word : words)
    (joined += joined.empty() ? "" : " | ") += std::string(word);
  return joined;
}

bool begins_as_number(const YamlNode& node) {
  return plain(node) && !node.text.empty() &&
         std::string_view("+-.0123456789").find(node.text[0]) != std::string_view::npos;
}

std::string format_value(const std::string& value) {
  if (!needs_quotes(value)) return value;
  if (find_not_utf8(value) != std::string::npos)  // a path may be; YAML has no escape
    return "!!binary " +
           YAML::EncodeBase64(reinterpret_cast<const unsigned char*>(value.data()),
                              value.size());
  std::string quoted = "\"";
  for (std::string_view rest = value; !rest.empty();) {
    const auto [bytes, plain] = first_character(rest);
    const std::string_view character = rest.substr(0, bytes);
    if (!plain) {
      char escape[7];
      std::snprintf(
          escape, sizeof escape, bytes < 3 ? "\\x%02x" : "\\u%04x",
          bytes == 1 ? static_cast<unsigned char>(character[0]) : code_of(character));
      quoted += escape;
    } else {
      if (character == "\"" || character == "\\") quoted += '\\';
      quoted += character;
    }
    rest.remove_prefix(bytes);
  }
  return quoted + "\"";
}

std::string format_value(const StringList& value) {
  if (value.size() == 1) return format_value(value[0]);
  std::string list;
  for (const std::string& text : value)
    (list += list.empty() ? "" : ", ") += format_value(text);
  return "[" + list + "]";
}

std::string format_value(int64_t value) { return std::to_string(value); }

// Always with a point, and exponents without leading zeros: 1e-04 would be a text to YAML
// 1.1 readers.
std::string format_value(double value) {
  char buffer[40];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  std::string text(buffer, end);
  if (!std::isfinite(value)) return text;
  const size_t e = text.find('e');
  std::string exponent = e == std::string::npos ? "" : text.substr(e);
  text = text.substr(0, e);
  if (text.find('.') == std::string::npos) text += ".0";
  while (exponent.size() > 3 && exponent[2] == '0') exponent.erase(2, 1);
  return text + exponent;
}

std::string format_value(const AutoDouble& value) {
  return value ? format_value(*value) : "auto";
}

std::string format_value(bool value) { return value ? "true" : "false"; }

std::string format_value(const Interval& value) {
  if (value.unit == Interval::Unit::kSteps) return std::to_string(value.steps);
  return value.unit == Interval::Unit::kEpoch ? "epoch" : "never";
}

std::string type_name(const std::string&) { return "text"; }
std::string type_name(const StringList&) { return "text or list of texts"; }
std::string type_name(int64_t) { return "integer"; }
std::string type_name(double) { return "number"; }
std::string type_name(const AutoDouble&) { return "number | auto"; }
std::string type_name(bool) { return "true | false"; }
std::string type_name(const Interval&) { return "epoch | never | number of steps"; }

std::string shown(std::string_view text) {
  constexpr size_t kLongest = 60;
  return plain(first_bytes(text, kLongest)) + (text.size() > kLongest ? "..." : "");
}

}  // namespace lowmem

#include <charconv>
#include <cmath>
#include <cwctype>

#include "lowmem/core/utf8.h"
#include "template/interpreter.h"
#include "template/python_text.h"

namespace lowmem::jinja {
namespace {

void append_escape(std::string& out, char32_t code) {
  static constexpr char kHex[] = "0123456789abcdef";
  const int digits = code < 0x100 ? 2 : code < 0x10000 ? 4 : 8;
  out += code < 0x100 ? "\\x" : code < 0x10000 ? "\\u" : "\\U";
  for (int i = digits - 1; i >= 0; --i) out += kHex[code >> (4 * i) & 15];
}

// A text as Python's repr() writes it.
Text quoted(const Text& text) {
  const bool has_single = text.bytes().find('\'') != std::string::npos;
  const bool has_double = text.bytes().find('"') != std::string::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  Text out;
  out.append(std::string_view(&quote, 1), kOwn);
  for (size_t at = 0; at < text.size();) {
    const auto character = utf8_at(text.view(), at);
    const char32_t code = character.code;
    std::string written;
    if (code == '\n')
      written = "\\n";
    else if (code == '\r')
      written = "\\r";
    else if (code == '\t')
      written = "\\t";
    else if (code == '\\' || code == static_cast<char32_t>(quote))
      (written = "\\") += static_cast<char>(code);
    else if (!text::is_printable(code))
      append_escape(written, code);
    else
      written = text.view().substr(at, character.size);
    out.append(written, text.source_at(at));
    at += character.size;
  }
  out.append(std::string_view(&quote, 1), kOwn);
  return out;
}

Text own(std::string text) { return Text(std::move(text)); }

Text range_text(const Range& range) {
  std::string text =
      "range(" + std::to_string(range.begin) + ", " + std::to_string(range.end);
  if (range.step != 1) text += ", " + std::to_string(range.step);
  return own(text + ")");
}

}  // namespace

std::string float_text(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  if (number == 0) return std::signbit(number) ? "-0.0" : "0.0";
  char buffer[40];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, number,
                                          std::chars_format::scientific);
  std::string text(buffer, end);
  const size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  if (exponent < -4 || exponent >= 16) {
    char tail[16];
    std::snprintf(tail, sizeof tail, "e%c%02d", exponent < 0 ? '-' : '+',
                  std::abs(exponent));
    return text.substr(0, e) + tail;
  }
  const auto [stop, failed] =
      std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::fixed);
  text.assign(buffer, stop);
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

Text str(Interpreter& run, const Value& value) {
  if (const Text* text = value.as_text()) return *text;
  if (value.is_undefined()) return {};
  return repr(run, value);
}

Text repr(Interpreter& run, const Value& value) {
  const Interpreter::Deeper deeper(run);
  run.charge(1);
  if (const Text* text = value.as_text()) {
    run.charge(static_cast<int64_t>(text->size()));
    return quoted(*text);
  }
  if (value.is_none()) return own("None");
  if (value.is_undefined()) return own("Undefined");
  if (const bool* flag = value.get<bool>()) return own(*flag ? "True" : "False");
  if (const int64_t* number = value.get<int64_t>()) return own(std::to_string(*number));
  if (const double* number = value.get<double>()) return own(float_text(*number));
  if (const Range* range = value.get<Range>()) return range_text(*range);
  Text out;
  const auto append = [&](const Text& part) {
    run.check_text(out.size() + part.size());
    out.append(part);
  };
  if (const Dict* dict = value.as_dict()) {
    out.append("{", kOwn);
    for (size_t i = 0; i < dict->items.size(); ++i) {
      if (i > 0) out.append(", ", kOwn);
      append(repr(run, dict->items[i].first));
      out.append(": ", kOwn);
      append(repr(run, dict->items[i].second));
    }
    out.append("}", kOwn);
    return out;
  }
  const Sequence* sequence = value.as_sequence();
  if (sequence == nullptr || sequence->kind == Sequence::Kind::kGenerator)
    run.fail("prints " + kind_of(value) +
             ", which Python writes as an address in memory");
  using Kind = Sequence::Kind;
  const Kind kind = sequence->kind;
  const bool tuple = kind == Kind::kTuple;
  const char* view = kind == Kind::kKeys     ? "dict_keys("
                     : kind == Kind::kValues ? "dict_values("
                     : kind == Kind::kItems  ? "dict_items("
                                             : "";
  out.append(view, kOwn);
  out.append(tuple ? "(" : "[", kOwn);
  for (size_t i = 0; i < sequence->items.size(); ++i) {
    if (i > 0) out.append(", ", kOwn);
    append(repr(run, sequence->items[i]));
  }
  out.append(tuple ? (sequence->items.size() == 1 ? ",)" : ")") : "]", kOwn);
  if (*view != '\0') out.append(")", kOwn);
  return out;
}

}  // namespace lowmem::jinja

#include <algorithm>
#include <cmath>

#include "lowmem/core/utf8.h"
#include "template/interpreter.h"

namespace lowmem::jinja {
namespace {

class Writer {
 public:
  Writer(Interpreter& run, const JsonStyle& style) : run_(run), style_(style) {}

  Text take() { return std::move(out_); }

  void write(const Value& value, int depth) {
    const Interpreter::Deeper deeper(run_);
    run_.charge(1);
    run_.check_text(out_.size());
    if (const Text* text = value.as_text()) return write(*text);
    if (value.is_none()) return own("null");
    if (const bool* flag = value.get<bool>()) return own(*flag ? "true" : "false");
    if (const int64_t* number = value.get<int64_t>()) return own(std::to_string(*number));
    if (const double* number = value.get<double>()) return own(float_of(*number));
    if (const Dict* dict = value.as_dict()) return write(*dict, depth);
    const Sequence* sequence = value.as_sequence();
    if (sequence == nullptr || (sequence->kind != Sequence::Kind::kList &&
                                sequence->kind != Sequence::Kind::kTuple))
      run_.fail("writes " + kind_of(value) + " as JSON");
    if (sequence->items.empty()) return own("[]");
    own("[");
    for (size_t i = 0; i < sequence->items.size(); ++i) {
      if (i > 0) own(style_.item_separator);
      line(depth + 1);
      write(sequence->items[i], depth + 1);
    }
    line(depth);
    own("]");
  }

 private:
  void own(std::string_view text) { out_.append(text, kOwn); }

  void line(int depth) {
    if (!style_.indented) return;
    own("\n");
    for (int i = 0; i < depth; ++i) own(style_.indent);
  }

  static std::string float_of(double number) {
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
    return float_text(number);
  }

  Text key_of(const Value& key) {
    if (const Text* text = key.as_text()) return *text;
    if (key.is_none()) return Text("null");
    if (const bool* flag = key.get<bool>()) return Text(*flag ? "true" : "false");
    if (const double* number = key.get<double>()) return Text(float_of(*number));
    if (key.get<int64_t>() != nullptr) return str(run_, key);
    run_.fail("writes a dict as JSON with " + kind_of(key) + " for a key");
  }

  void write(const Dict& dict, int depth) {
    if (dict.items.empty()) return own("{}");
    std::vector<std::pair<Text, const Value*>> items;
    for (const auto& [key, value] : dict.items) items.emplace_back(key_of(key), &value);
    if (style_.sorts_keys)
      std::stable_sort(items.begin(), items.end(), [](const auto& a, const auto& b) {
        return a.first.bytes() < b.first.bytes();
      });
    own("{");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) own(style_.item_separator);
      line(depth + 1);
      write(items[i].first);
      own(style_.key_separator);
      write(*items[i].second, depth + 1);
    }
    line(depth);
    own("}");
  }

  static void append_unit(std::string& out, char32_t unit) {
    static constexpr char kHex[] = "0123456789abcdef";
    out += "\\u";
    for (int digit = 3; digit >= 0; --digit) out += kHex[unit >> (4 * digit) & 15];
  }

  void write(const Text& text) {
    run_.charge(static_cast<int64_t>(text.size() / 2));
    own("\"");
    size_t begin = 0;
    for (const Text::Run& run : text.runs()) {
      std::string written;
      for (size_t at = begin; at < run.end;) {
        const auto [code, size] = utf8_at(text.view(), at);
        append_character(written, code, text.view().substr(at, size));
        at += size;
      }
      out_.append(written, run.source);
      begin = run.end;
    }
    own("\"");
  }

  void append_character(std::string& out, char32_t code, std::string_view bytes) const {
    static constexpr std::string_view kSpelt = "\"\\\n\r\t\b\f", kLetters = "\"\\nrtbf";
    const size_t known =
        code < 0x80 ? kSpelt.find(static_cast<char>(code)) : std::string_view::npos;
    if (known != std::string_view::npos) {
      (out += '\\') += kLetters[known];
    } else if (code < 0x20 || (style_.ascii && code > 0x7E && code < 0x10000)) {
      append_unit(out, code);
    } else if (style_.ascii && code >= 0x10000) {
      append_unit(out, 0xD800 + ((code - 0x10000) >> 10));
      append_unit(out, 0xDC00 + ((code - 0x10000) & 0x3FF));
    } else {
      out += bytes;
    }
  }

  Interpreter& run_;
  const JsonStyle& style_;
  Text out_;
};

}  // namespace

Text json_text(Interpreter& run, const Value& value, const JsonStyle& style) {
  Writer writer(run, style);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace lowmem::jinja

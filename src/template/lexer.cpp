#include "template/lexer.h"

#include <algorithm>
#include <optional>

#include "lowmem/core/utf8.h"
#include "template/python_text.h"

namespace lowmem::jinja {
namespace {

// Line feeds alone end lines, and the last one of a file counts for nothing.
std::string with_line_feeds(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text += source[i];
      continue;
    }
    text += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
// Bytes of characters beyond ASCII are taken for letters.
bool begins_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) between_blocks();
    add(Token::Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw Failure{line_, problem, kRepairTemplate};
  }

  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  bool sees(std::string_view text) const { return rest().starts_with(text); }

  void add(Token::Kind kind, std::string text) {
    tokens_.push_back({kind, std::move(text), line_});
  }

  void move(size_t count) {
    line_ += static_cast<int>(std::count(source_.begin() + position(at_),
                                         source_.begin() + position(at_ + count), '\n'));
    at_ += count;
  }
  static std::ptrdiff_t position(size_t at) { return static_cast<std::ptrdiff_t>(at); }

  void skip_space() {
    while (at_ < source_.size() && is_space(source_[at_])) move(1);
  }

  // The text up to the next opening mark; `sign` is what follows it.
  void add_data(size_t end, char sign, bool strips_indent) {
    std::string_view data = std::string_view(source_).substr(at_, end - at_);
    if (sign == '-') {
      data.remove_suffix(text::trailing_space(data).size());
    } else if (sign != '+' && strips_indent) {
      const size_t newline = data.rfind('\n');
      const bool starts_line = newline != std::string_view::npos || starts_line_;
      const size_t indent = newline == std::string_view::npos ? 0 : newline + 1;
      if (starts_line &&
          text::trailing_space(data.substr(indent)).size() == data.size() - indent)
        data = data.substr(0, indent);
    }
    if (!data.empty()) add(Token::Kind::kData, std::string(data));
    move(end - at_);
  }

  char sign_at(size_t at) const {
    return at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at]
                                                                             : '\0';
  }

  void between_blocks() {
    const size_t begin = [&] {
      for (size_t at = source_.find('{', at_); at != std::string::npos;
           at = source_.find('{', at + 1))
        if (at + 1 < source_.size() &&
            std::string_view("{%#").find(source_[at + 1]) != std::string_view::npos)
          return at;
      return std::string::npos;
    }();
    if (begin == std::string::npos) {
      add(Token::Kind::kData, source_.substr(at_));
      at_ = source_.size();
      return;
    }
    const char kind = source_[begin + 1];
    const char sign = sign_at(begin + 2);
    add_data(begin, sign, kind != '{');
    move(2 + (sign != '\0'));
    if (kind == '#') {
      comment();
    } else if (kind == '{') {
      add(Token::Kind::kVariableBegin, "{{");
      inside("}}", Token::Kind::kVariableEnd);
    } else if (const auto size = raw_begin()) {
      raw(*size);
    } else {
      add(Token::Kind::kBlockBegin, "{%");
      inside("%}", Token::Kind::kBlockEnd);
    }
  }

  // Past the closing mark at `at_`, whose sign is before it, and the white space that it
  // takes along.
  void close(char sign, bool takes_line_feed) {
    move(sign == '\0' ? 2 : 3);
    if (sign == '-')
      while (at_ < source_.size() && white_space_size() > 0) move(white_space_size());
    else if (sign != '+' && takes_line_feed && sees("\n"))
      move(1);
    starts_line_ = at_ > 0 && source_[at_ - 1] == '\n';
  }

  size_t white_space_size() const {
    const std::string_view text = rest();
    const size_t size = std::min(text.size(), utf8_at(text, 0).size);
    return text::trailing_space(text.substr(0, size)).size();
  }

  void comment() {
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail("has a comment without an end");
    const char sign = end > at_ ? sign_at(end - 1) : '\0';
    move(end - at_ - (sign != '\0'));
    close(sign, true);
  }

  // Bytes of `raw %}` at this place.
  std::optional<size_t> raw_begin() const {
    size_t at = at_;
    const auto skip = [&] {
      while (at < source_.size() && is_space(source_[at])) ++at;
    };
    skip();
    if (source_.compare(at, 3, "raw") != 0) return std::nullopt;
    at += 3;
    skip();
    const bool strips = at < source_.size() && source_[at] == '-';
    if (source_.compare(at + strips, 2, "%}") != 0) return std::nullopt;
    at += 2 + strips;
    if (strips) skip();
    return at - at_;
  }

  void raw(size_t size) {
    move(size);
    starts_line_ = source_[at_ - 1] == '\n';
    for (size_t begin = source_.find("{%", at_); begin != std::string::npos;
         begin = source_.find("{%", begin + 1)) {
      size_t at = begin + 2;
      const char sign = sign_at(at);
      at += sign != '\0';
      while (at < source_.size() && is_space(source_[at])) ++at;
      if (source_.compare(at, 6, "endraw") != 0) continue;
      at += 6;
      while (at < source_.size() && is_space(source_[at])) ++at;
      const char closing = sign_at(at);
      if (source_.compare(at + (closing != '\0'), 2, "%}") != 0) continue;
      add_data(begin, sign, true);
      move(at - at_);
      close(closing, true);
      return;
    }
    fail("has a raw block without an end");
  }

  // The tokens of a block, up to its closing mark. Inside brackets that mark is none.
  void inside(std::string_view mark, Token::Kind end) {
    const int begun = line_;
    std::string brackets;
    while (true) {
      skip_space();
      if (at_ >= source_.size()) {
        line_ = begun;
        fail("has a block without an end");
      }
      if (brackets.empty()) {
        const char sign = sign_at(at_);
        const bool may = sign == '-' || (sign == '+' && mark == "%}") || sign == '\0';
        if (may && rest().substr(sign != '\0').starts_with(mark)) {
          add(end, std::string(mark));
          close(sign, mark == "%}");
          return;
        }
      }
      token(brackets);
    }
  }

  void token(std::string& brackets) {
    const char c = source_[at_];
    if (begins_name(c)) {
      size_t end = at_;
      while (end < source_.size() &&
             (begins_name(source_[end]) || is_digit(source_[end])))
        ++end;
      add(Token::Kind::kName, source_.substr(at_, end - at_));
      at_ = end;
    } else if (is_digit(c)) {
      number();
    } else if (c == '\'' || c == '"') {
      string(c);
    } else {
      mark(brackets);
    }
  }

  void mark(std::string& brackets) {
    static constexpr std::string_view kMarks[] = {"**", "//", "==", "!=", "<=", ">="};
    std::string text(1, source_[at_]);
    for (const std::string_view longer : kMarks)
      if (sees(longer)) text = longer;
    const char c = text[0];
    if (text == "!" ||
        std::string_view("+-*/%~<>=!.:,|;()[]{}").find(c) == std::string_view::npos)
      fail("has a character that is none of Jinja's, " + text);
    if (c == '(') brackets += ')';
    if (c == '[') brackets += ']';
    if (c == '{') brackets += '}';
    if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty() || brackets.back() != c) fail("closes " + text + " too early");
      brackets.pop_back();
    }
    add(Token::Kind::kOperator, text);
    at_ += text.size();
  }

  // Digits of Python: 1_000, 0x1f, 1.5, 1e-3.
  void number() {
    const auto digits = [&](size_t at, bool hexadecimal) {
      const auto is = [&](char c) {
        return is_digit(c) ||
               (hexadecimal && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')));
      };
      while (at < source_.size() &&
             (is(source_[at]) ||
              (source_[at] == '_' && at + 1 < source_.size() && is(source_[at + 1]))))
        ++at;
      return at;
    };
    const auto lower = [&](size_t at) {
      return at < source_.size() ? static_cast<char>(source_[at] | 0x20) : '\0';
    };
    bool is_float = false;
    size_t end = at_;
    if (source_[at_] == '0' &&
        std::string_view("xob").find(lower(at_ + 1)) != std::string_view::npos) {
      end = digits(at_ + 2, lower(at_ + 1) == 'x');
    } else {
      // After a point it is the number of an item: a.0.1
      const bool after_point = at_ > 0 && source_[at_ - 1] == '.';
      end = digits(at_, false);
      if (!after_point && end + 1 < source_.size() && source_[end] == '.' &&
          is_digit(source_[end + 1])) {
        end = digits(end + 1, false);
        is_float = true;
      }
      if (!after_point && lower(end) == 'e') {
        const size_t sign = sign_at(end + 1) != '\0';
        if (end + 1 + sign < source_.size() && is_digit(source_[end + 1 + sign])) {
          end = digits(end + 1 + sign, false);
          is_float = true;
        }
      }
    }
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    if (!is_float && text.size() > 1 && text[0] == '0' && is_digit(text[1]) &&
        text.find_first_not_of('0') != std::string::npos)
      fail("has a number that begins with 0, " + text);
    add(is_float ? Token::Kind::kFloat : Token::Kind::kInteger, text);
    at_ = end;
  }

  void string(char quote) {
    const int begun = line_;
    std::string text;
    size_t at = at_ + 1;
    while (at < source_.size() && source_[at] != quote) {
      if (source_[at] != '\\') {
        text += source_[at++];
        continue;
      }
      if (at + 1 >= source_.size()) break;
      at = escape(at + 1, text);
    }
    if (at >= source_.size()) fail("has a string without an end");
    move(at + 1 - at_);
    tokens_.push_back({Token::Kind::kString, text, begun});
  }

  // What follows a backslash, as Python has it; the place behind it.
  size_t escape(size_t at, std::string& text) const {
    static constexpr std::string_view kShort = "abfnrtv\\'\"\n",
                                      kMeant = "\a\b\f\n\r\t\v\\'\"";
    const char c = source_[at];
    if (const size_t known = kShort.find(c); known != std::string_view::npos) {
      if (known < kMeant.size()) text += kMeant[known];  // a line feed joins two lines
      return at + 1;
    }
    if (c >= '0' && c <= '7') {
      char32_t code = 0;
      size_t end = at;
      for (; end < at + 3 && end < source_.size() && source_[end] >= '0' &&
             source_[end] <= '7';
           ++end)
        code = code * 8 + static_cast<char32_t>(source_[end] - '0');
      append_utf8(text, code);
      return end;
    }
    const size_t size = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (size == 0) {
      if (c == 'N') fail("names a character by \\N, which is not implemented");
      text += '\\';
      return at;
    }
    char32_t code = 0;
    for (size_t i = 1; i <= size; ++i) {
      const char digit = at + i < source_.size() ? source_[at + i] : '\0';
      const char low = static_cast<char>(digit | 0x20);
      if (is_digit(digit))
        code = code * 16 + static_cast<char32_t>(digit - '0');
      else if (low >= 'a' && low <= 'f')
        code = code * 16 + static_cast<char32_t>(low - 'a' + 10);
      else
        fail(std::string("has an unfinished escape \\") + c);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
      fail("has an escape that is no character");
    append_utf8(text, code);
    return at + size + 1;
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool starts_line_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(with_line_feeds(source)).run();
}

}  // namespace lowmem::jinja

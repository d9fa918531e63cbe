// Patterns of tokenizer.json rewritten for PCRE2. Only what Oniguruma and PCRE2 read
// alike is let through; everything else is refused by name.

#include <algorithm>
#include <cctype>
#include <iterator>

#include "lowmem/core/error.h"
#include "tokenizer/pattern.h"

namespace lowmem::tokenization {
namespace {

// Unicode's White_Space. PCRE2's own \s adds U+180E with PCRE2_UCP, and is ASCII without.
constexpr std::string_view kWhiteSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f})"
    R"(\x{205f}\x{3000})";

constexpr size_t kLongestPattern = 4096;  // bytes

struct Property {
  std::string_view name;
  std::string_view
      ascii;  // repeated first: PCRE2 tests these by a bitmap, the rest slowly
  std::string_view newer;  // characters that PCRE2 10.42 (Unicode 14) does not know yet
};

constexpr Property kProperties[] = {
#include "tokenizer/newer_characters.inc"
};

const Property* find_property(std::string_view name) {
  const auto* found = std::find_if(std::begin(kProperties), std::end(kProperties),
                                   [&](const Property& p) { return p.name == name; });
  return found == std::end(kProperties) ? nullptr : found;
}

std::string class_of(const Property& property) {
  return std::string(property.ascii) + "\\p{" + std::string(property.name) + "}" +
         std::string(property.newer);
}

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where)
      : pattern_(pattern), where_(where) {}

  std::string translate() {
    if (pattern_.size() > kLongestPattern)
      throw Error(where_,
                  "is a regular expression of " + std::to_string(pattern_.size()) +
                      " bytes, which is not implemented",
                  "Use a tokenizer with another pattern");
    while (at_ < pattern_.size()) {
      switch (const char c = pattern_[at_]; c) {
        case '\\':
          escape();
          break;
        case '[':
          character_class();
          break;
        case '(':
          group();
          break;
        case '{':
          braces();
          break;
        case '^':
          take("(?m:^)");  // Ruby's ^ and $ always stand for lines
          break;
        case '$':
          take("(?m:$)");
          break;
        default:
          out_ += c;
          ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(where_,
                "has " + what + " in its pattern " + std::string(pattern_) +
                    ", which is not implemented",
                "Use a tokenizer with another pattern");
  }

  void take(std::string_view replacement, size_t size = 1) {
    out_ += replacement;
    at_ += size;
  }

  char peek(size_t offset) const {
    return at_ + offset < pattern_.size() ? pattern_[at_ + offset] : '\0';
  }

  // The escape at at_: its class without brackets, and whether it is negated. Escapes of
  // single characters have no class; they are copied to `copied`.
  struct Escape {
    std::string characters;
    bool negated = false;
    std::string copied;
  };
  Escape read_escape() {
    const char kind = peek(1);
    if (kind == '\0') refuse("a lone backslash at the end");
    Escape escape;
    switch (kind) {
      case 's':
      case 'S':
        escape = {std::string(kWhiteSpace), kind == 'S', ""};
        break;
      case 'd':
      case 'D':
        escape = {class_of(*find_property("Nd")), kind == 'D', ""};
        break;
      case 'p':
      case 'P': {
        const size_t close = pattern_.find('}', at_);
        const std::string name(peek(2) == '{' && close != std::string_view::npos
                                   ? pattern_.substr(at_ + 3, close - at_ - 3)
                                   : std::string_view());
        const Property* property = find_property(name);
        if (property == nullptr)
          refuse("the property \\" + std::string(1, kind) + "{" + name + "}");
        at_ = close + 1;
        return {class_of(*property), kind == 'P', ""};
      }
      case 'r':
      case 'n':
      case 't':
        escape.copied = {'\\', kind};
        break;
      default:
        if (std::ispunct(static_cast<unsigned char>(kind)) == 0)
          refuse(std::string("the escape \\") + kind);
        escape.copied = {'\\', kind};
    }
    at_ += 2;
    return escape;
  }

  void escape() {
    const Escape escape = read_escape();
    if (escape.characters.empty())
      out_ += escape.copied;
    else
      out_ += (escape.negated ? "[^" : "[") + escape.characters + "]";
  }

  void character_class() {
    take("[");
    if (peek(0) == '^') take("^");
    if (peek(0) == ']') refuse("a ] that opens a character class");
    while (true) {
      switch (const char c = peek(0); c) {
        case '\0':
          refuse("a character class without its ]");
        case ']':
          take("]");
          return;
        case '[':
          refuse("a [ inside a character class");
        case '&':
          if (peek(1) == '&') refuse("the intersection &&");
          take("&");
          break;
        case '\\': {
          const Escape escape = read_escape();
          if (escape.negated) refuse("a negated class inside a character class");
          out_ += escape.characters + escape.copied;
          break;
        }
        default:
          out_ += c;
          ++at_;
      }
    }
  }

  void group() {
    if (peek(1) != '?') return take("(");
    for (const std::string_view opening :
         {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?i)"})
      if (pattern_.substr(at_).starts_with(opening)) return take(opening, opening.size());
    refuse("the group " + std::string(pattern_.substr(at_, 4)));
  }

  // A repeat count {n}, {n,} or {n,m}; any other brace is itself.
  void braces() {
    size_t end = at_ + 1;
    const auto digits = [&] {
      const size_t start = end;
      while (end < pattern_.size() && pattern_[end] >= '0' && pattern_[end] <= '9') ++end;
      return end - start;
    };
    const bool low = digits() > 0;
    bool high = false;
    if (end < pattern_.size() && pattern_[end] == ',') {
      ++end;
      high = digits() > 0;
    }
    if (end >= pattern_.size() || pattern_[end] != '}' || (!low && !high))
      return take("\\{");
    if (!low) refuse("a repeat count without its lower bound");
    ++end;
    if (end < pattern_.size() && (pattern_[end] == '+' || pattern_[end] == '?'))
      refuse("a repeat count followed by + or ?");
    take(pattern_.substr(at_, end - at_), end - at_);
  }

  std::string_view pattern_;
  const std::string& where_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string to_pcre2(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).translate();
}

// Unicode Technical Standard 18, annex C: Alphabetic, M, Nd, Pc and Join_Control.
// Alphabetic is L, Nl, some of M, and the circled and squared Latin letters.
std::string word_characters() {
  std::string characters;
  for (const std::string_view name : {"L", "M", "Nd"})
    characters += class_of(*find_property(name));
  return characters +
         R"(\p{Nl}\p{Pc}\x{200c}\x{200d}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149})"
         R"(\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";
}

}  // namespace lowmem::tokenization

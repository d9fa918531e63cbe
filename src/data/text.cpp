#include "data/text.h"

#include <locale.h>
#include <wctype.h>

#include "data/special_casing.h"
#include "lowmem/core/error.h"
#include "tokenizer/utf8.h"

namespace lowmem::text {
namespace {

using tokenization::append_utf8;
using tokenization::utf8_at;
using tokenization::utf8_before;

// What str.isspace() accepts: Unicode's white space and four separators of ASCII.
bool is_space(char32_t c) {
  return tokenization::is_white_space(c) || (c >= 0x1C && c <= 0x1F);
}

// Unicode's one-to-one case mappings, whatever locale the process runs in.
class Case {
 public:
  static const Case& get() {
    static const Case instance;
    return instance;
  }

  char32_t lower(char32_t c) const { return towlower_l(static_cast<wint_t>(c), locale_); }
  char32_t title(char32_t c) const {
    return towctrans_l(static_cast<wint_t>(c), title_, locale_);
  }
  // The ordinals ª and º are letters of no other case.
  bool is_cased(char32_t c) const {
    return lower(c) != c || title(c) != c || c == 0xAA || c == 0xBA;
  }

 private:
  Case() : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_ == nullptr)
      throw Error("the locale C.UTF-8", "is missing from this system",
                  "Install it (Debian and Ubuntu: the package libc-bin)");
    title_ = wctrans_l("totitle", locale_);
    if (title_ == 0) title_ = wctrans_l("toupper", locale_);
  }

  locale_t locale_;
  wctrans_t title_;
};

void append_title(std::string& out, char32_t c) {
  const auto special = std::find_if(kTitleCases.begin(), kTitleCases.end(),
                                    [&](const TitleCase& t) { return t.character == c; });
  if (special == kTitleCases.end()) return append_utf8(out, Case::get().title(c));
  for (const char32_t part : special->title) append_utf8(out, part);
}

// Characters that a word goes on across, as far as they meet Greek letters: apostrophes,
// points, soft hyphen, combining marks, joiners.
bool is_case_ignorable(char32_t c) {
  return c == '\'' || c == '.' || c == ':' || c == '^' || c == '`' || c == 0xA8 ||
         c == 0xAD || c == 0xAF || c == 0xB4 || c == 0xB7 || c == 0xB8 ||
         (c >= 0x02B0 && c <= 0x036F) || c == 0x0387 || (c >= 0x200B && c <= 0x200F) ||
         c == 0x2018 || c == 0x2019 || c == 0x2024 || c == 0x2027;
}

// Whether the sigma at [begin, end) ends a word: a letter before it and none after it.
bool is_final(std::string_view text, size_t begin, size_t end) {
  bool after_letter = false;
  while (begin > 0 && !after_letter) {
    const auto before = utf8_before(text, begin);
    if (!is_case_ignorable(before.code) && !Case::get().is_cased(before.code)) break;
    after_letter = !is_case_ignorable(before.code);
    begin -= before.size;
  }
  if (!after_letter) return false;
  while (end < text.size()) {
    const auto after = utf8_at(text, end);
    if (!is_case_ignorable(after.code)) return !Case::get().is_cased(after.code);
    end += after.size;
  }
  return true;
}

}  // namespace

std::string_view trailing_space(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    const auto character = utf8_before(text, end);
    if (!is_space(character.code)) break;
    end -= character.size;
  }
  return text.substr(end);
}

std::string strip(std::string_view text) {
  text.remove_suffix(trailing_space(text).size());
  while (!text.empty()) {
    const auto character = utf8_at(text, 0);
    if (!is_space(character.code)) break;
    text.remove_prefix(character.size);
  }
  return std::string(text);
}

std::string capitalize(std::string_view text) {
  constexpr char32_t kSigma = 0x3A3, kFinalSigma = 0x3C2, kDottedI = 0x130;
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto character = utf8_at(text, at);
    const size_t end = at + character.size;
    if (at == 0)
      append_title(out, character.code);
    else if (character.code == kDottedI)
      out += "i\xCC\x87";  // i and a combining dot
    else if (character.code == kSigma && is_final(text, at, end))
      append_utf8(out, kFinalSigma);
    else
      append_utf8(out, Case::get().lower(character.code));
    at = end;
  }
  return out;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (size_t at; (at = text.find(from)) != std::string_view::npos;) {
    out += text.substr(0, at);
    out += to;
    text.remove_prefix(at + from.size());
  }
  return out += text;
}

int64_t length(std::string_view text) {
  int64_t count = 0;
  for (const char byte : text) count += (byte & 0xC0) != 0x80;
  return count;
}

}  // namespace lowmem::text

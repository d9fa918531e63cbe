#include "template/python_text.h"

#include <locale.h>
#include <wctype.h>

#include "lowmem/core/error.h"
#include "lowmem/core/utf8.h"
#include "template/special_casing.h"

namespace lowmem::text {
namespace {

// Unicode's one-to-one case mappings, whatever locale the process runs in.
class Case {
 public:
  static const Case& get() {
    static const Case instance;
    return instance;
  }

  char32_t lower(char32_t c) const { return towlower_l(static_cast<wint_t>(c), locale_); }
  char32_t upper(char32_t c) const { return towupper_l(static_cast<wint_t>(c), locale_); }
  bool prints(char32_t c) const {
    return iswprint_l(static_cast<wint_t>(c), locale_) != 0;
  }
  char32_t title(char32_t c) const {
    return towctrans_l(static_cast<wint_t>(c), title_, locale_);
  }
  // The ordinals ª and º are letters of no other case.
  bool is_cased(char32_t c) const {
    return lower(c) != c || title(c) != c || c == 0xAA || c == 0xBA;
  }

 private:
  Case() : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_ == nullptr) {
      // newlocale reports "no such file" too where its tables, 400 KiB, found no room.
      const std::string room(1 << 20, ' ');
      throw Error("the locale C.UTF-8", "is missing from this system",
                  "Install it (Debian and Ubuntu: the package libc-bin)");
    }
    title_ = wctrans_l("totitle", locale_);
    if (title_ == 0) title_ = wctrans_l("toupper", locale_);
  }

  locale_t locale_;
  wctrans_t title_;
};

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

bool is_space(char32_t c) {
  // Unicode's white space and four separators of ASCII.
  return is_white_space(c) || (c >= 0x1C && c <= 0x1F);
}

bool is_printable(char32_t c) {
  if (c < 0x7F) return c >= 0x20;
  // Formatting characters, private use and what is not assigned.
  const bool formats =
      c == 0xAD || (c >= 0x600 && c <= 0x605) || c == 0x61C || c == 0x6DD || c == 0x70F ||
      c == 0x180E || (c >= 0x200B && c <= 0x200F) || (c >= 0x202A && c <= 0x202E) ||
      (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
      (c >= 0x1D173 && c <= 0x1D17A) || (c >= 0xE0000 && c <= 0xE007F) ||
      (c >= 0xE000 && c <= 0xF8FF) || c >= 0xF0000;
  return !formats && !is_white_space(c) && Case::get().prints(c);
}

bool is_cased(char32_t c) { return Case::get().is_cased(c); }
bool is_upper(char32_t c) { return Case::get().lower(c) != c; }
bool is_lower(char32_t c) { return is_cased(c) && !is_upper(c); }

void append_title(std::string& out, char32_t c) {
  const auto special = std::find_if(kTitleCases.begin(), kTitleCases.end(),
                                    [&](const TitleCase& t) { return t.character == c; });
  if (special == kTitleCases.end()) return append_utf8(out, Case::get().title(c));
  for (const char32_t part : special->title) append_utf8(out, part);
}

void append_upper(std::string& out, char32_t c) {
  constexpr char32_t kIota = 0x399;
  const auto with_iota = [&](char32_t base) {
    append_utf8(out, base);
    append_utf8(out, kIota);
  };
  // Greek letters with an iota below them, which stands beside them then.
  if (c >= 0x1F80 && c <= 0x1FAF)
    return with_iota((c < 0x1F90 ? 0x1F08 : c < 0x1FA0 ? 0x1F28 : 0x1F68) + (c & 7));
  if (c == 0x1FB3 || c == 0x1FBC) return with_iota(0x391);
  if (c == 0x1FC3 || c == 0x1FCC) return with_iota(0x397);
  if (c == 0x1FF3 || c == 0x1FFC) return with_iota(0x3A9);
  const auto special = std::find_if(kTitleCases.begin(), kTitleCases.end(),
                                    [&](const TitleCase& t) { return t.character == c; });
  if (special == kTitleCases.end()) return append_utf8(out, Case::get().upper(c));
  for (const char32_t part : special->title) append_utf8(out, Case::get().upper(part));
}

void append_lower(std::string& out, std::string_view text, size_t begin, size_t end) {
  constexpr char32_t kSigma = 0x3A3, kFinalSigma = 0x3C2, kDottedI = 0x130;
  const char32_t c = utf8_at(text, begin).code;
  if (c == kDottedI)
    out += "i\xCC\x87";  // i and a combining dot
  else if (c == kSigma && is_final(text, begin, end))
    append_utf8(out, kFinalSigma);
  else
    append_utf8(out, Case::get().lower(c));
}

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
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto character = utf8_at(text, at);
    if (at == 0)
      append_title(out, character.code);
    else
      append_lower(out, text, at, at + character.size);
    at += character.size;
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

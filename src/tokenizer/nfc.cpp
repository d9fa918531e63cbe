// utf8proc does the work; what it knows and the reference does not is kept from it.

#include "tokenizer/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <new>

#include "lowmem/core/error.h"
#include "lowmem/core/utf8.h"

namespace lowmem::tokenization {
namespace {

struct Range {
  char32_t first, last;
};

constexpr Range kNewerMarks[] = {
#include "tokenizer/newer_marks.inc"
};

bool is_newer_mark(char32_t code) {
  const auto* found = std::lower_bound(
      std::begin(kNewerMarks), std::end(kNewerMarks), code,
      [](const Range& range, char32_t value) { return range.last < value; });
  return found != std::end(kNewerMarks) && found->first <= code;
}

// The library sorts the marks of a character in a time that grows with their square.
constexpr int kMostMarks = 4096;

void append_composed(std::string& result, std::string_view text,
                     const std::string& where) {
  if (text.empty()) return;
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &composed,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owned(composed,
                                                                      &std::free);
  if (size == UTF8PROC_ERROR_NOMEM) throw std::bad_alloc();
  if (size < 0)
    throw Error(where, std::string("cannot be applied: ") + utf8proc_errmsg(size),
                "Check that the text is UTF-8");
  result.append(reinterpret_cast<const char*>(composed), static_cast<size_t>(size));
}

}  // namespace

std::string to_nfc(std::string_view text, const std::string& where) {
  if (std::all_of(text.begin(), text.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x80; }))
    return std::string(text);
  std::string result;
  result.reserve(text.size());
  size_t done = 0;
  int marks = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char character = utf8_at(text, at);
    const auto* property =
        utf8proc_get_property(static_cast<utf8proc_int32_t>(character.code));
    marks = property->combining_class > 0 ? marks + 1 : 0;
    if (marks > kMostMarks)
      throw Error(where,
                  "meets a character with more than " + std::to_string(kMostMarks) +
                      " combining marks",
                  "Leave that text out");
    if (is_newer_mark(character.code)) {
      append_composed(result, text.substr(done, at - done), where);
      result.append(text.substr(at, character.size));
      done = at + character.size;
      marks = 0;
    }
    at += character.size;
  }
  append_composed(result, text.substr(done), where);
  return result;
}

}  // namespace lowmem::tokenization

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

// Text from outside (a file, a name, the environment, the command line) as it may be
// shown. Whoever writes to a terminal, a log, a table or a page cleans with these as it
// writes, so that nobody who composes a text need think of it.
namespace lowmem {

// The character that a text begins with.
struct FirstCharacter {
  size_t bytes = 1;
  // Well-formed UTF-8, and nothing that a terminal would obey or that would show the rest
  // in another order or on another line: no control character (C0, DEL, C1), no end of a
  // line or paragraph (U+2028, U+2029), no embedding, override or isolate of writing
  // direction (U+202A to U+202E, U+2066 to U+2069).
  bool plain = false;
};
// `text` must not be empty.
FirstCharacter first_character(std::string_view text);

// Where the first byte of no well-formed UTF-8 is; npos: nowhere.
size_t find_not_utf8(std::string_view text);

// `text` on one line, with ? for each character that is not plain, and each byte of none.
std::string plain(std::string_view text);
bool is_plain(std::string_view text);

// The same of what the program has composed of several lines: the end of a line stays
// where an indented line follows, so that no name can begin a line of its own.
std::string plain_lines(std::string_view text);

// The first `bytes` of `text` at most, up to the end of a character.
std::string_view first_bytes(std::string_view text, size_t bytes);

// `text` as one word of a command to paste into a shell (bash, zsh): as it is, or in
// quotes; what is not plain as escapes, so that the word is the same.
std::string shell_word(std::string_view text);

}  // namespace lowmem

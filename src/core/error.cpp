#include "lowmem/core/error.h"

#include <utility>

namespace lowmem {
namespace {

// Names and values out of files, which may hold anything: of one line, without what a
// terminal would obey, and of a length that can be read. A long one loses its middle,
// since a path is known by its end.
std::string shown(const std::string& text) {
  constexpr size_t kHead = 600, kTail = 200;
  std::string result = text;
  if (text.size() > kHead + kTail) {
    const auto begins_character = [&](size_t at) { return (text[at] & 0xC0) != 0x80; };
    size_t head = kHead, tail = text.size() - kTail;
    while (head > kHead - 4 && !begins_character(head)) --head;
    while (tail < text.size() - kTail + 4 && !begins_character(tail)) ++tail;
    result = text.substr(0, head) + "..." + text.substr(tail);
  }
  for (char& c : result)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  return result;
}

std::string message(const std::string& thing, const std::string& problem,
                    const std::string& remedy) {
  return shown(thing) + ": " + shown(problem) + ".\n       " + shown(remedy) + ".";
}

}  // namespace

Error::Error(std::string thing, std::string problem, std::string remedy)
    : std::runtime_error(message(thing, problem, remedy)),
      thing_(std::move(thing)),
      problem_(std::move(problem)),
      remedy_(std::move(remedy)) {}

}  // namespace lowmem

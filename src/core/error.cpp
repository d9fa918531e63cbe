#include "lowmem/core/error.h"

#include <string_view>
#include <utility>

#include "lowmem/core/plain_text.h"

namespace lowmem {
namespace {

// Of a length that can be read: a long one loses its middle, since a path is known by its
// end.
std::string shown(const std::string& text) {
  constexpr size_t kHead = 600, kTail = 200;
  if (text.size() <= kHead + kTail) return plain(text);
  std::string_view tail = std::string_view(text).substr(text.size() - kTail);
  for (int i = 0; i < 3 && (static_cast<unsigned char>(tail.front()) & 0xc0) == 0x80; ++i)
    tail.remove_prefix(1);  // the rest of a character
  return plain(first_bytes(text, kHead)) + "..." + plain(tail);
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

#include "lowmem/core/error.h"

#include <utility>

namespace lowmem {
namespace {

std::string message(const std::string& thing, const std::string& problem,
                    const std::string& remedy) {
  return thing + ": " + problem + ".\n       " + remedy + ".";
}

}  // namespace

Error::Error(std::string thing, std::string problem, std::string remedy)
    : std::runtime_error(message(thing, problem, remedy)),
      thing_(std::move(thing)),
      problem_(std::move(problem)),
      remedy_(std::move(remedy)) {}

}  // namespace lowmem

#pragma once

#include <stdexcept>
#include <string>

namespace lowmem {

// What a user can cause: a wrong file, key, value or machine. `main` alone catches it,
// prints it as `error: <what()>` and exits with status 1. Bugs assert instead.
class Error : public std::runtime_error {
 public:
  // `thing` names the file, line, key or tensor; `problem` says what is wrong with it;
  // `remedy` says what to do. Each reads as a clause without a final full stop, e.g.
  //   Error("eval.batch_size = 0", "must be at least 1", "Set it to 32, the default")
  // what() has each part cleaned (core/plain_text.h), without the middle of a long one.
  Error(std::string thing, std::string problem, std::string remedy);

  const std::string& thing() const { return thing_; }
  const std::string& problem() const { return problem_; }
  const std::string& remedy() const { return remedy_; }

 private:
  std::string thing_;
  std::string problem_;
  std::string remedy_;
};

}  // namespace lowmem

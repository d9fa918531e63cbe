#include "config/checks.h"

#include <cctype>
#include <cmath>

#include "lowmem/core/error.h"

namespace lowmem {
namespace {

// Above any count that makes sense, and far from where products of two would overflow.
constexpr int64_t kMostCount = 1'000'000'000;

}  // namespace

void check_count(const std::string& key, int64_t value, int64_t least) {
  if (value < least)
    throw Error(assigned(key, value), "must be at least " + std::to_string(least),
                "Write " + std::to_string(least) + " or more");
  if (value > kMostCount)
    throw Error(assigned(key, value), "must be at most " + std::to_string(kMostCount),
                "Write a smaller number");
}

void check_not_negative(const std::string& key, double value) {
  if (!std::isfinite(value) || value < 0)
    throw Error(assigned(key, value), "must be a finite number from 0 up",
                "Write 0 or more");
}

void check_positive(const std::string& key, double value) {
  if (!std::isfinite(value) || !(static_cast<float>(value) > 0))
    throw Error(assigned(key, value), "must be a positive number that fp32 can hold",
                "Write a small number such as 1e-8");
}

void check_fraction(const std::string& key, double value) {
  if (!(value >= 0 && value < 1))
    throw Error(assigned(key, value), "must be from 0 up to, but not including, 1",
                "Write a number such as 0.9");
}

void check_texts(const std::string& key, const StringList& texts, const char* remedy) {
  if (texts.empty()) throw Error(assigned(key, texts), "is empty", remedy);
  for (const std::string& text : texts)
    if (text.empty()) throw Error(assigned(key, texts), "holds an empty text", remedy);
}

void check_spelling(const std::string& key, const std::string& path) {
  const bool tilde = path == "~" || path.starts_with("~/");
  size_t dollar = path.find('$');
  while (dollar != std::string::npos && dollar + 1 < path.size() &&
         !(std::isalpha(static_cast<unsigned char>(path[dollar + 1])) != 0 ||
           path[dollar + 1] == '_' || path[dollar + 1] == '{'))
    dollar = path.find('$', dollar + 1);
  const bool variable = dollar != std::string::npos && dollar + 1 < path.size();
  if (!tilde && !variable) return;
  throw Error(assigned(key, path),
              tilde ? "begins with ~, which only a shell replaces"
                    : "holds a variable, which only a shell replaces",
              std::string("Write the folder's whole name instead of ") +
                  (tilde ? "~" : "the variable") +
                  ", or give it on the command line, as in " + key + "=" +
                  (tilde ? "~/..." : "$NAME/..."));
}

void check_spelling(const std::string& key, const StringList& paths) {
  for (const std::string& path : paths) check_spelling(key, path);
}

}  // namespace lowmem

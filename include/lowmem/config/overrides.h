#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lowmem/config/run_config.h"

namespace lowmem {

// `section.key=value`, as given on the command line. The value is read like a YAML
// scalar, except that it is taken literally ("#", ": " and "null" mean nothing) unless it
// starts with a quote or "[". A list is `a,b` or `[a, b]`; `key=` is the empty text or
// list. Unknown keys and wrong types are refused as in a file; then `config` is
// unchanged.
void apply_override(RunConfig& config, std::string_view assignment);

// The same with key and value apart, for the short flags.
void set_key(RunConfig& config, std::string_view key, std::string_view value);

// A key and its value, as one argument or as a short flag gives them.
struct Assignment {
  std::string key, value;
};
// Throws Error where `text` is not of the form `section.key=value`.
Assignment assignment_of(std::string_view text);

// Sets all of them in their order. Warns of a key that is there with two values, of which
// the last one counts.
void set_keys(RunConfig& config, const std::vector<Assignment>& assignments);

// The flags of the program this one follows: short forms of keys.
struct ShortFlag {
  std::string_view flag;
  std::string_view key;
};

inline constexpr ShortFlag kShortFlags[] = {
    {"--run-name", "run.name"},
    {"--model", "model.path"},
    {"--optimizer", "optimizer.name"},
    {"--lr", "optimizer.lr"},
    {"--batch-size", "train.batch_size"},
    {"--epochs", "train.epochs"},
    {"--seed", "run.seed"},
    {"--log-every", "train.log_every"},
};

}  // namespace lowmem

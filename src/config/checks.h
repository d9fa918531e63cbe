#pragma once

#include <cstdint>
#include <string>

#include "config/values.h"
#include "lowmem/config/run_config.h"

// What validate() asks of single values, and of a section in a file of its own. Each
// throws Error that names the key and its value.
namespace lowmem {

template <class Value>
std::string assigned(const std::string& key, const Value& value) {
  return key + " = " + format_value(value);
}

// At least `least`, and no more than makes sense.
void check_count(const std::string& key, int64_t value, int64_t least);
// In [0, infinity).
void check_not_negative(const std::string& key, double value);
// In (0, infinity), in fp32 too.
void check_positive(const std::string& key, double value);
// In [0, 1).
void check_fraction(const std::string& key, double value);
void check_texts(const std::string& key, const StringList& texts, const char* remedy);
// What a shell would have replaced: here it would be the name of a new folder.
void check_spelling(const std::string& key, const std::string& path);
void check_spelling(const std::string& key, const StringList& paths);

// The section `adapter`, and what it says of others.
void check_adapter(const RunConfig& config);

}  // namespace lowmem

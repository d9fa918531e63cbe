#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lowmem/io/safetensors.h"

namespace lowmem {

// What a reader of the format accepts at most.
constexpr int64_t kMaxHeaderBytes = 100'000'000;
constexpr std::string_view kMetadataKey = "__metadata__";

struct SafetensorsHeader {
  // As the header lists them; `offset` counts from the beginning of the data. Each shape
  // fits its span of the data; how the spans lie to one another is not checked here.
  std::vector<TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
};

// Parses the JSON of `file`'s header. Duplicate tensor names are kept, for the caller to
// find. Memory is in proportion to the text, recursion none.
SafetensorsHeader parse_safetensors_header(const std::string& file,
                                           std::string_view text);

// `name` in quotation marks for a message: cut when long, control characters replaced.
std::string in_quotes(std::string_view name);

// The remedy for a file that breaks the format.
inline constexpr const char* kDamaged =
    "The file is damaged or incomplete: fetch it or write it again";

}  // namespace lowmem

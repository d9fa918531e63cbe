#pragma once

#include <algorithm>

#include "lowmem/tokenizer/tokenizer.h"
#include "support.h"

namespace lowmem::fuzz {

// Opens the tokenizer of `file`, encodes the end of `content` and decodes that, and some
// ids more. Every id must be below vocab_size().
inline void use_tokenizer(const std::filesystem::path& file, std::string_view content) {
  constexpr size_t kText = 256;  // bytes
  only_errors([&] {
    const auto tokenizer = open_tokenizer_file(file);
    const std::string_view text =
        content.substr(content.size() - std::min(kText, content.size()));
    std::vector<int32_t> ids = tokenizer->encode(text);
    for (const int32_t id : ids) require(id >= 0 && id < tokenizer->vocab_size());
    for (int32_t id = -1; id < 32; ++id) ids.push_back(id);
    ids.push_back(INT32_MAX);
    tokenizer->decode(ids);
  });
}

}  // namespace lowmem::fuzz

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lowmem::test {

// The bytes of a safetensors file put together by hand, `length` as its header length.
inline std::string raw_safetensors(std::string_view header, std::string_view data,
                                   uint64_t length) {
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8)
    bytes += static_cast<char>(length >> shift & 0xFF);
  return bytes.append(header).append(data);
}

inline std::string raw_safetensors(std::string_view header, std::string_view data) {
  return raw_safetensors(header, data, header.size());
}

}  // namespace lowmem::test

#pragma once

#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

namespace lowmem::test {

// A safetensors file taken apart.
struct Weights {
  nlohmann::json header;
  std::string data;

  explicit Weights(const std::string& bytes) {
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    header = nlohmann::json::parse(bytes.substr(8, length));
    data = bytes.substr(8 + length);
  }

  static std::string assemble(const std::string& header, const std::string& data) {
    return assemble(header, data, header.size());
  }
  static std::string assemble(const std::string& header, const std::string& data,
                              uint64_t length) {
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, sizeof length);
    return bytes + header + data;
  }
};

}  // namespace lowmem::test

#pragma once

// tests/fixtures/quantized/quantized.json, as scripts/references/quantized.py wrote it.

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/hashed.h"
#include "support/shared.h"

namespace lowmem::kernels::test {

inline const nlohmann::json& quantized() {
  static const nlohmann::json all = [] {
    std::ifstream file(lowmem::test::fixture("quantized/quantized.json"));
    return nlohmann::json::parse(file);
  }();
  return all;
}

// Numbers of which the file has the digits of the bytes.
template <class T>
std::vector<T> numbers_of(const std::string& digits) {
  std::vector<unsigned char> bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2)
    bytes.push_back(
        static_cast<unsigned char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  std::vector<T> numbers(bytes.size() / sizeof(T));
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

// A case's values, or so many of the hash's.
inline std::vector<float> values_of(const nlohmann::json& given) {
  const nlohmann::json& values = given["values"];
  if (values.is_string()) return numbers_of<float>(values.get<std::string>());
  const int64_t count =
      given["shape"][0].get<int64_t>() * given["shape"][1].get<int64_t>();
  std::vector<float> drawn;
  for (int64_t i = 0; i < count; ++i) drawn.push_back(draw(i, values.get<int64_t>()));
  return drawn;
}

}  // namespace lowmem::kernels::test

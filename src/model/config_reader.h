#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "lowmem/core/error.h"

namespace lowmem::model {

// An object of config.json, read key by key; null counts as absent. What is wrong throws
// Error naming the file, the key and its value.
class ConfigReader {
  using json = nlohmann::json;

 public:
  ConfigReader(json object, std::string where)
      : object_(std::move(object)), where_(std::move(where)) {}

  bool has(const char* key) const {
    return object_.contains(key) && !object_[key].is_null();
  }
  const json& at(const char* key) const { return object_[key]; }
  const json& object() const { return object_; }
  const std::string& where() const { return where_; }

  int64_t integer(const char* key, std::optional<int64_t> fallback = {}) const {
    if (!has(key)) return or_missing(key, fallback);
    const json& value = object_[key];
    constexpr int64_t kLargest = int64_t{1} << 31;
    if (!value.is_number_integer() || value < 1 || value > kLargest)
      fail(key, "must be a whole number from 1 to 2^31");
    return value.get<int64_t>();
  }

  double positive(const char* key, std::optional<double> fallback = {}) const {
    if (!has(key)) return or_missing(key, fallback);
    const json& value = object_[key];
    const double number = value.is_number() ? value.get<double>() : 0.0;
    // In fp32 what is out of its range would be 0 or infinite.
    using Fp32 = std::numeric_limits<float>;
    if (!(number >= Fp32::min() && number <= Fp32::max()))
      fail(key, "must be a positive number that fp32 can hold");
    return number;
  }

  bool boolean(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_boolean()) fail(key, "must be true or false");
    return object_[key].get<bool>();
  }

  std::string text(const char* key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_string()) fail(key, "must be a string");
    return object_[key].get<std::string>();
  }

  [[noreturn]] void fail(
      const std::string& key, const std::string& problem,
      const std::string& remedy = "Repair the file, or fetch it again") const {
    std::string value;
    if (object_.contains(key)) {
      // Bytes that are not UTF-8 never get here: the parser refuses them.
      value = object_[key].dump();
      if (value.size() > 60) value = value.substr(0, 57) + "...";
      value = " = " + value;
    }
    throw Error(where_ + " " + key + value, problem, remedy);
  }

 private:
  template <class T>
  T or_missing(const char* key, std::optional<T> fallback) const {
    if (!fallback) fail(key, "is missing");
    return *fallback;
  }

  json object_;
  std::string where_;
};

}  // namespace lowmem::model

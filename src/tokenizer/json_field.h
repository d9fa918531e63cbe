#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace lowmem::tokenization {

// A value of a JSON file that knows where it stands, so that errors name file and key:
// "model/tokenizer.json model.merges[3]". Refers to the document, which must outlive it.
class JsonField {
 public:
  JsonField(const nlohmann::json& document, const std::filesystem::path& file)
      : value_(&document), where_(file.string()) {}

  const nlohmann::json& raw() const { return *value_; }
  const std::string& where() const { return where_; }

  bool is_null() const { return value_->is_null(); }
  bool is_string() const { return value_->is_string(); }
  bool is_object() const { return value_->is_object(); }

  // Each throws Error when the value is of another type.
  const std::string& string() const;
  bool boolean() const;
  int64_t integer() const;  // also Error beyond 64 bits
  std::vector<JsonField> elements() const;
  std::vector<std::pair<std::string, JsonField>> members() const;

  // The member `key`; Error where it is missing, or where this is not an object.
  JsonField at(const std::string& key) const;
  // nullopt where the member is missing or null.
  std::optional<JsonField> find(const std::string& key) const;
  // The member, or `fallback` where it is missing or null.
  bool boolean(const std::string& key, bool fallback) const;

  [[noreturn]] void fail(const std::string& problem) const;
  [[noreturn]] void refuse(const std::string& what) const;  // "... is not implemented"

 private:
  JsonField(const nlohmann::json* value, std::string where)
      : value_(value), where_(std::move(where)) {}
  std::string path_of(const std::string& step) const;

  const nlohmann::json* value_;
  std::string where_;
  bool root_ = true;
};

// The remedy of every damaged file.
inline constexpr const char* kFetchAgain = "Repair the file, or fetch it again";

}  // namespace lowmem::tokenization

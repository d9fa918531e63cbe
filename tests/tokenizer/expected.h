#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/tokenizer/tokenizer.h"
#include "support/shared.h"

namespace lowmem::test {

// 64-bit FNV-1a in hexadecimal, as scripts/references/tokenizer_ids.py writes it.
inline std::string fnv(std::string_view bytes) {
  uint64_t value = 0xCBF29CE484222325u;
  for (const char byte : bytes)
    value = (value ^ static_cast<unsigned char>(byte)) * 0x100000001B3u;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

inline std::string fnv(const std::vector<int32_t>& ids) {
  return fnv(std::string_view(reinterpret_cast<const char*>(ids.data()), 4 * ids.size()));
}

inline std::string from_base64(const std::string& text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(kDigits.find(c));
    if ((count += 6) >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 0xFF);
  }
  return bytes;
}

// A text of a reference file: a string, bytes in base64, or a repeated string.
inline std::string read_text(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.contains("base64")) return from_base64(value["base64"]);
  std::string text;
  for (int i = 0; i < value["count"].get<int>(); ++i) text += value["repeat"];
  return text;
}

// Fails unless `text` has the ids and the decoded text of `expected`, an object of a
// reference file.
inline void expect_case(const Tokenizer& tokenizer, const std::string& text,
                        const nlohmann::json& expected) {
  SCOPED_TRACE("text " +
               nlohmann::json(text.substr(0, 200))
                   .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
  const std::vector<int32_t> ids = tokenizer.encode(text);
  if (const auto& hashed = expected["ids"]; hashed.is_object()) {
    EXPECT_EQ(ids.size(), hashed["count"].get<size_t>());
    EXPECT_EQ(fnv(ids), hashed["fnv"].get<std::string>());
  } else {
    EXPECT_EQ(ids, hashed.get<std::vector<int32_t>>());
  }
  const std::string decoded = tokenizer.decode(ids);
  if (!expected.contains("decoded")) {
    EXPECT_EQ(decoded, text);
  } else if (expected["decoded"].is_string()) {
    EXPECT_EQ(decoded, expected["decoded"].get<std::string>());
  } else {
    EXPECT_EQ(decoded.size(), expected["decoded"]["count"].get<size_t>());
    EXPECT_EQ(fnv(decoded), expected["decoded"]["fnv"].get<std::string>());
  }
}

inline void expect_cases(const Tokenizer& tokenizer, const nlohmann::json& texts,
                         const nlohmann::json& cases) {
  ASSERT_EQ(texts.size(), cases.size());
  ASSERT_GT(texts.size(), 0u);
  for (size_t i = 0; i < texts.size(); ++i)
    expect_case(tokenizer, read_text(texts[i]), cases[i]);
}

inline nlohmann::json tokenizer_reference(const std::string& name) {
  return read_json(fixture("tokenizers/" + name + ".json"));
}

inline nlohmann::json tokenizer_file(const std::string& folder) {
  return read_json(fixture("tokenizers/" + folder + "/tokenizer.json"));
}

// A model folder that a test fills, removed at its end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name =
        (std::filesystem::temp_directory_path() / "lowmem-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  TemporaryFolder& write_text(const std::string& name, std::string_view content) {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return *this;
  }
  TemporaryFolder& write(const std::string& name, const nlohmann::json& content) {
    return write_text(name, content.dump());
  }
  std::unique_ptr<Tokenizer> open() const { return open_tokenizer(path_); }

  // The error that opening the folder gives; fails where it opens.
  Error error() const {
    try {
      open_tokenizer(path_);
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "the folder opens";
    return Error("", "", "");
  }

 private:
  std::filesystem::path path_;
};

}  // namespace lowmem::test

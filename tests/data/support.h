#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/data/example.h"
#include "support/byte_tokens.h"

namespace lowmem::test {

class ByteTokenizer : public ByteTokens {
 public:
  static constexpr int32_t kBos = 256, kEos = 257;

  explicit ByteTokenizer(bool adds_bos = true, bool has_bos = true, bool has_eos = true)
      : ByteTokens({"<bos>", "<eos>"}) {
    adds_bos_ = adds_bos;
    if (has_bos) bos_id_ = kBos;
    if (has_eos) eos_id_ = kEos;
  }
  std::optional<int32_t> id_of(std::string_view token) const override {
    if (token.size() == 1) return static_cast<unsigned char>(token.front());
    return std::nullopt;
  }
};

// A file that is gone with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text) {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::path(::testing::TempDir()) /
            (std::string("lowmem_") + test->test_suite_name() + "_" + test->name() +
             std::to_string(count_++));
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  static inline int count_ = 0;
  std::filesystem::path path_;
};

// Ids as text, with BOS as ^ and EOS as $.
inline std::string text_of(const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids)
    text += id == ByteTokenizer::kBos   ? '^'
            : id == ByteTokenizer::kEos ? '$'
                                        : static_cast<char>(id);
  return text;
}

// Its labels likewise, with . where nothing is learned.
inline std::string labels_of(const Example& example) {
  std::string text;
  for (const int32_t label : example.labels)
    text += label == kIgnoreLabel ? "." : text_of({label});
  return text;
}

// What `action` throws, as "thing: problem"; "nothing" where it does not.
template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.thing() + ": " + error.problem();
  }
  return "nothing";
}

}  // namespace lowmem::test

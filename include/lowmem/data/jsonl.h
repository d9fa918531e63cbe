#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace lowmem {

// Reads a JSONL file a line at a time: one object a line, blank lines skipped. Throws
// Error naming file and line for what is not UTF-8, not JSON, not an object, longer than
// 16 MiB, or nested deeper than 32.
class JsonlReader {
 public:
  explicit JsonlReader(const std::filesystem::path& path);

  // False at the end of the file.
  bool next(nlohmann::json& object);
  // "train.jsonl line 12", of the last object: the beginning of an error about it.
  std::string where() const;
  int64_t line() const { return line_; }

 private:
  bool read_line();
  int next_byte();

  std::filesystem::path path_;
  std::ifstream in_;
  std::string text_;
  int64_t line_ = 0;
};

}  // namespace lowmem

#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace lowmem {

// Reads a JSONL file a line at a time: one object a line, blank lines skipped. Finding a
// line and reading what is on it are two calls, so that a bad line can be passed over:
//
//   while (reader.next_line()) use(reader.object());
//
// What is not a regular file is refused: a pipe might never end.
class JsonlReader {
 public:
  // Throws Error where the file cannot be opened.
  explicit JsonlReader(const std::filesystem::path& path);

  // Goes to the next line that is not blank; false at the end of the file. Throws Error
  // where the disk fails.
  bool next_line();
  // That line's. Throws Error naming file and line for what is not UTF-8, not JSON, not
  // an object, longer than 16 MiB, nested deeper than 32, or has a key twice in one
  // object.
  nlohmann::json object() const;
  // The same with the keys in the order of the file.
  nlohmann::ordered_json ordered_object() const;

  // "train.jsonl line 12", of this line: the beginning of an error about it.
  std::string where() const;
  int64_t line() const { return line_; }
  // Of the file, read so far.
  int64_t bytes() const { return bytes_; }

 private:
  template <class Json>
  Json parsed() const;
  bool read_line();
  void skip_rest_of_line();
  int next_byte();

  std::filesystem::path path_;
  std::ifstream in_;
  std::string text_;  // one byte more than a line may have, where it is longer
  int64_t line_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace lowmem

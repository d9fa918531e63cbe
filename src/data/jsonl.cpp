#include "lowmem/data/jsonl.h"

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "lowmem/core/error.h"
#include "lowmem/core/units.h"
#include "tokenizer/utf8.h"

namespace lowmem {
namespace {

constexpr size_t kLongestLine = 16 * kMiB;
constexpr int kDeepest = 32;

// Brackets outside strings, counted before the parser builds anything of them.
bool is_too_deep(const std::string& text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDeepest) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

}  // namespace

JsonlReader::JsonlReader(const std::filesystem::path& path) : path_(path) {
  std::error_code code;
  if (std::filesystem::is_directory(path, code))
    throw Error(path.string(), "is a folder, where a JSONL file is expected",
                "Give the path of a file");
  errno = 0;
  in_.open(path, std::ios::binary);
  if (!in_)
    throw Error(path.string(),
                "cannot be read (" + std::string(std::strerror(errno)) + ")",
                "Check the path and its permissions");
}

std::string JsonlReader::where() const {
  return path_.string() + " line " + std::to_string(line_);
}

// A failing disk is an exception of the buffer's.
int JsonlReader::next_byte() {
  try {
    return in_.rdbuf()->sbumpc();
  } catch (const std::ios_base::failure&) {
    throw Error(where(), "cannot be read", "Check the disk, and that this is a file");
  }
}

// std::getline with a bound on the length.
bool JsonlReader::read_line() {
  text_.clear();
  ++line_;
  while (true) {
    const int c = next_byte();
    if (c == std::char_traits<char>::eof()) return !text_.empty();
    if (c == '\n') return true;
    if (text_.size() == kLongestLine)
      throw Error(where(), "is longer than " + format_bytes(kLongestLine),
                  "Check that the file is JSONL: one object a line");
    text_.push_back(static_cast<char>(c));
  }
}

bool JsonlReader::next(nlohmann::json& object) {
  do {
    if (!read_line()) return false;
  } while (text_.find_first_not_of(" \t\r") == std::string::npos);
  const std::string remedy = "Repair or remove the line";
  if (!tokenization::is_utf8(text_)) throw Error(where(), "is not UTF-8", remedy);
  if (is_too_deep(text_))
    throw Error(where(), "is nested deeper than " + std::to_string(kDeepest), remedy);
  try {
    object = nlohmann::json::parse(text_);
  } catch (const nlohmann::json::exception&) {  // numbers too large are not parse errors
    throw Error(where(), "is not valid JSON", remedy);
  }
  if (!object.is_object()) throw Error(where(), "is not a JSON object", remedy);
  return true;
}

}  // namespace lowmem

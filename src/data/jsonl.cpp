#include "lowmem/data/jsonl.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/json_keys.h"
#include "lowmem/core/units.h"
#include "lowmem/core/utf8.h"

namespace lowmem {
namespace {

constexpr size_t kLongestLine = 16 * kMiB;
constexpr int kDeepest = 32;

}  // namespace

JsonlReader::JsonlReader(const std::filesystem::path& path) : path_(path) {
  refuse_other_than_file(path);
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
  ++bytes_;
  try {
    return in_.rdbuf()->sbumpc();
  } catch (const std::ios_base::failure&) {
    throw Error(where(), "cannot be read", "Check the disk, and that this is a file");
  }
}

void JsonlReader::skip_rest_of_line() {
  for (int c = 0; c != '\n' && c != std::char_traits<char>::eof();) c = next_byte();
}

// std::getline with a bound on what is kept. Past it, the rest is read only when the next
// line is asked for.
bool JsonlReader::read_line() {
  if (text_.size() > kLongestLine) skip_rest_of_line();
  text_.clear();
  ++line_;
  while (text_.size() <= kLongestLine) {
    const int c = next_byte();
    if (c == std::char_traits<char>::eof()) return !text_.empty();
    if (c == '\n') return true;
    text_.push_back(static_cast<char>(c));
  }
  return true;
}

bool JsonlReader::next_line() {
  do {
    if (!read_line()) return false;
  } while (text_.find_first_not_of(" \t\r") == std::string::npos);
  return true;
}

template <class Json>
Json JsonlReader::parsed() const {
  // An array, an object over several lines, or no JSON at all, as a table or an archive.
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF", kBlanks = " \t\r";
  std::string_view text = text_;
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  const bool other_form = text.starts_with('[') ||
                          (line_ == 1 && !text.starts_with('{')) ||
                          (text.starts_with('{') && text.find_last_not_of(kBlanks) == 0);
  const std::string remedy =
      other_form ? "Write JSONL: one object a line" : "Repair or remove the line";
  if (text_.size() > kLongestLine)
    throw Error(where(), "is longer than " + format_bytes(kLongestLine),
                "Check that the file is JSONL: one object a line");
  if (!is_utf8(text_))
    throw Error(where(), "is not UTF-8",
                text_.starts_with("\xFF\xFE") ? "Convert the file from UTF-16" : remedy);
  if (is_nested_deeper(text_, kDeepest))
    throw Error(where(), "is nested deeper than " + std::to_string(kDeepest), remedy);
  // The JSON library takes a zero byte for the end of its input.
  if (text_.find('\0') != std::string::npos)
    throw Error(where(), "holds a NUL byte, which JSON cannot", remedy);
  Json object;
  try {
    object = Json::parse(text_);
  } catch (const nlohmann::json::parse_error& error) {
    // Python's json writes numbers that are none.
    const size_t from = error.byte > 12 ? error.byte - 12 : 0;
    const std::string_view near = std::string_view(text_).substr(from, 24);
    const bool no_number = near.find("NaN") != std::string_view::npos ||
                           near.find("Infinity") != std::string_view::npos;
    throw Error(where(), "is not valid JSON at byte " + std::to_string(error.byte),
                no_number ? "Write null in the place of NaN or Infinity, which JSON does "
                            "not have"
                          : remedy);
  } catch (const nlohmann::json::exception&) {
    throw Error(where(), "holds a number beyond 1e308", remedy);
  }
  if (!object.is_object()) throw Error(where(), "is not a JSON object", remedy);
  if (const auto twice = repeated_key(text_, object))
    throw Error(where(), "has \"" + *twice + "\" twice in one object",
                "Remove one of the two");
  return object;
}

nlohmann::json JsonlReader::object() const { return parsed<nlohmann::json>(); }

nlohmann::ordered_json JsonlReader::ordered_object() const {
  return parsed<nlohmann::ordered_json>();
}

}  // namespace lowmem

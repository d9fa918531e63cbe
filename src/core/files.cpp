#include "lowmem/core/files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/core/json_keys.h"
#include "lowmem/core/units.h"

namespace lowmem {
namespace {

// Vocabularies are not asked for keys that are there twice: their readers count.
constexpr size_t kAskedForTwins = 1 << 20;  // bytes

constexpr int kDeepestJson = 64;  // the deepest file of a model folder has about ten

}  // namespace

void refuse_other_than_file(const std::filesystem::path& path) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status) || std::filesystem::is_regular_file(status))
    return;
  throw Error(path.string(),
              std::filesystem::is_directory(status)
                  ? "is a folder, where a file is expected"
                  : "is a pipe, device or socket, where a file is expected",
              "Give the path of a file");
}

bool is_there(const std::filesystem::path& path) {
  std::error_code code;
  return std::filesystem::symlink_status(path, code).type() !=
         std::filesystem::file_type::not_found;
}

std::string read_file(const std::filesystem::path& path, int64_t max_bytes) {
  refuse_other_than_file(path);
  std::error_code code;
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    const std::string reason = std::strerror(errno);
    const bool link = std::filesystem::is_symlink(path, code);
    throw Error(path.string(),
                (link ? "is a link whose end cannot be read (" : "cannot be read (") +
                    reason + ")",
                "Check the path and its permissions");
  }
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path, code));
  if (!code && size > max_bytes)
    throw Error(path.string(),
                "is " + format_bytes(size) + " long, more than the " +
                    format_bytes(max_bytes) + " such a file may have",
                "Check that this is the file you meant");
  // In pieces, since a file can grow, and those under /proc have no size.
  std::string text;
  text.reserve(code ? 0 : static_cast<size_t>(size));
  std::vector<char> piece(1 << 16);
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) ||
         in.gcount() > 0) {
    text.append(piece.data(), static_cast<size_t>(in.gcount()));
    if (static_cast<int64_t>(text.size()) > max_bytes)
      throw Error(
          path.string(),
          "is longer than the " + format_bytes(max_bytes) + " such a file may have",
          "Check that this is the file you meant");
  }
  if (in.bad())
    throw Error(path.string(), "could not be read to its end", "Check the disk");
  return text;
}

bool is_nested_deeper(std::string_view json, int depth) {
  int open = 0;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++open > depth) return true;
    } else if (c == '}' || c == ']') {
      --open;
    }
  }
  return false;
}

nlohmann::json read_json(const std::filesystem::path& path, int64_t max_bytes) {
  const std::string text = read_file(path, max_bytes);
  if (text.find('\0') != std::string::npos)
    throw Error(path.string(), "holds a NUL byte, which JSON cannot",
                "Repair the file, or fetch it again");
  if (is_nested_deeper(text, kDeepestJson))
    throw Error(path.string(), "is nested deeper than " + std::to_string(kDeepestJson),
                "Repair the file, or fetch it again");
  try {
    nlohmann::json json = nlohmann::json::parse(text);
    const auto twice =
        text.size() > kAskedForTwins ? std::nullopt : repeated_key(text, json);
    if (!twice) return json;
    throw Error(path.string(), "has \"" + *twice + "\" twice in one object",
                "Remove one of the two");
  } catch (const nlohmann::json::out_of_range&) {
    throw Error(path.string(), "holds a number that no computer number can hold",
                "Repair the file, or fetch it again");
  } catch (const nlohmann::json::parse_error& error) {
    const size_t at = std::min(error.byte, text.size());
    const auto line =
        1 + std::count(text.begin(), text.begin() + static_cast<int64_t>(at), '\n');
    throw Error(path.string() + " line " + std::to_string(line), "is not valid JSON",
                "Repair the file, or fetch it again");
  }
}

}  // namespace lowmem

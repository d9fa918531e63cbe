#include "lowmem/core/files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/core/units.h"

namespace lowmem {

std::string read_file(const std::filesystem::path& path, int64_t max_bytes) {
  std::error_code code;
  if (std::filesystem::is_directory(path, code))
    throw Error(path.string(), "is a folder, where a file is expected",
                "Give the path of a file");
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in)
    throw Error(path.string(),
                "cannot be read (" + std::string(std::strerror(errno)) + ")",
                "Check the path and its permissions");
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path, code));
  if (!code && size > max_bytes)
    throw Error(path.string(),
                "is " + format_bytes(size) + " long, more than the " +
                    format_bytes(max_bytes) + " such a file may have",
                "Check that this is the file you meant");
  // In pieces, since what is not a regular file has no size to check beforehand.
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

nlohmann::json read_json(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  if (text.find('\0') != std::string::npos)
    throw Error(path.string(), "holds a NUL byte, which JSON cannot",
                "Repair the file, or fetch it again");
  try {
    return nlohmann::json::parse(text);
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

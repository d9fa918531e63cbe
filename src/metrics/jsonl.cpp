#include "lowmem/metrics/jsonl.h"

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "lowmem/core/error.h"

namespace lowmem::metrics {

JsonLines::JsonLines(std::filesystem::path path) : path_(std::move(path)) {
  errno = 0;
  out_.open(path_, std::ios::trunc);
  if (!out_)
    throw Error(path_.string(),
                "cannot be written (" + std::string(std::strerror(errno)) + ")",
                "Check the folder and its permissions");
}

void JsonLines::write(const nlohmann::ordered_json& line) {
  errno = 0;
  out_ << line.dump() << '\n' << std::flush;
  if (!out_)
    throw Error(path_.string(),
                "cannot be written (" + std::string(std::strerror(errno)) + ")",
                "Make room on the disk and start again");
}

}  // namespace lowmem::metrics

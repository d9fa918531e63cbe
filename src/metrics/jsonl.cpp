#include "lowmem/metrics/jsonl.h"

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"

namespace lowmem::metrics {

JsonLines::JsonLines(std::filesystem::path path, uintmax_t keep)
    : path_(std::move(path)) {
  refuse_other_than_file(path_);
  std::error_code code;
  if (keep > 0) std::filesystem::resize_file(path_, keep, code);
  errno = code.value();
  if (!code) out_.open(path_, keep > 0 ? std::ios::app : std::ios::trunc);
  if (!out_.is_open())
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
                "Free space on that disk, and go on with --resume where the run has "
                "a checkpoint");
}

}  // namespace lowmem::metrics

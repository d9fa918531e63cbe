#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>

namespace lowmem::metrics {

// A file of one JSON object a line. Each line is on its way to the disk when write()
// returns, so that a run can be watched, and a killed one read.
class JsonLines {
 public:
  // Goes on after the first `keep` bytes of the file; 0 begins an empty one. Throws Error
  // naming the path.
  explicit JsonLines(std::filesystem::path path, uintmax_t keep = 0);
  // Throws Error naming the path where the disk refuses.
  void write(const nlohmann::ordered_json& line);

 private:
  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace lowmem::metrics

#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// TensorBoard's event files, written by hand: records in the framing of TFRecord files,
// each an Event message of Protocol Buffers. Field numbers are those of
// tensorflow/core/util/event.proto and tensorflow/core/framework/summary.proto.
namespace lowmem::metrics {

// CRC-32C (Castagnoli; RFC 3720, appendix B.4).
uint32_t crc32c(std::string_view bytes);

// A record: length (8 bytes, little-endian), its masked CRC-32C, the bytes, theirs.
std::string tfrecord(std::string_view bytes);

using Scalars = std::vector<std::pair<std::string_view, float>>;  // tag and value

// Event messages. `wall_time` in seconds since 1970.
std::string version_event(double wall_time);
// From `step` on, what a reader has seen in earlier files is void.
std::string restart_event(double wall_time, int64_t step);
std::string scalars_event(double wall_time, int64_t step, const Scalars& scalars);

// An event file that is there for others after every write().
class EventFile {
 public:
  // A new file. Throws Error naming the path.
  explicit EventFile(std::filesystem::path path);
  // Throws Error naming the path where the disk refuses.
  void write(std::string_view event);

 private:
  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace lowmem::metrics

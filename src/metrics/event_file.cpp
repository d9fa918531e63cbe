#include "metrics/event_file.h"

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "lowmem/core/error.h"

namespace lowmem::metrics {
namespace {

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit)
      rest = (rest >> 1) ^ ((rest & 1) != 0 ? 0x82f63b78u : 0);
    table[byte] = rest;
  }
  return table;
}

template <class Unsigned>
std::string little_endian(Unsigned value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(value); ++i)
    bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

// So that a checksum of bytes that hold checksums is no simple one.
uint32_t masked(uint32_t crc) { return std::rotr(crc, 15) + 0xa282ead8u; }

// Protocol Buffers: a field is its number and wire type, then the value.
enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes += static_cast<char>(value);
}

std::string tag(uint32_t field, WireType type) { return varint(field << 3 | type); }

std::string integer_field(uint32_t field, int64_t value) {
  return tag(field, kVarint) + varint(static_cast<uint64_t>(value));
}

std::string double_field(uint32_t field, double value) {
  return tag(field, kFixed64) + little_endian(std::bit_cast<uint64_t>(value));
}

std::string float_field(uint32_t field, float value) {
  return tag(field, kFixed32) + little_endian(std::bit_cast<uint32_t>(value));
}

std::string bytes_field(uint32_t field, std::string_view value) {
  return tag(field, kBytes) + varint(value.size()) + std::string(value);
}

std::string event(double wall_time, int64_t step) {
  // A zero goes without saying.
  return double_field(1, wall_time) + (step == 0 ? "" : integer_field(2, step));
}

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& remedy) {
  throw Error(path.string(),
              "cannot be written (" + std::string(std::strerror(errno)) + ")", remedy);
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = crc_table();
  uint32_t crc = ~0u;
  for (const char byte : bytes)
    crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  return ~crc;
}

std::string tfrecord(std::string_view bytes) {
  const std::string length = little_endian(uint64_t{bytes.size()});
  return length + little_endian(masked(crc32c(length))) + std::string(bytes) +
         little_endian(masked(crc32c(bytes)));
}

std::string version_event(double wall_time) {
  return event(wall_time, 0) + bytes_field(3, "brain.Event:2");
}

std::string restart_event(double wall_time, int64_t step) {
  const std::string session_log = integer_field(1, 1);  // status: START
  return event(wall_time, step) + bytes_field(7, session_log);
}

std::string scalars_event(double wall_time, int64_t step, const Scalars& scalars) {
  std::string summary;
  for (const auto& [name, value] : scalars)
    summary += bytes_field(1, bytes_field(1, name) + float_field(2, value));
  return event(wall_time, step) + bytes_field(5, summary);
}

EventFile::EventFile(std::filesystem::path path) : path_(std::move(path)) {
  errno = 0;
  out_.open(path_, std::ios::binary | std::ios::trunc);
  if (!out_.is_open()) refuse(path_, "Check the folder and its permissions");
}

void EventFile::write(std::string_view event) {
  errno = 0;
  out_ << tfrecord(event) << std::flush;
  if (!out_)
    refuse(path_,
           "Free space on that disk, and go on with --resume where the run has a "
           "checkpoint; run.tensorboard = false does without this file");
}

}  // namespace lowmem::metrics

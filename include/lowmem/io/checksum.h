#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace lowmem {

// XXH3, 64 bits (https://github.com/Cyan4973/xxHash): finds damage, not forgery. About
// 10 GB/s, however the bytes are cut.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(Checksum&&) noexcept;
  Checksum& operator=(Checksum&&) noexcept;

  void add(std::span<const std::byte> bytes);
  // Of all bytes so far.
  uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Of the whole file, read in pieces of 1 MiB. Throws Error where it cannot be read.
uint64_t file_checksum(const std::filesystem::path& path);

// Sixteen hexadecimal digits, as JSON cannot hold every 64-bit number.
std::string hexadecimal(uint64_t checksum);

}  // namespace lowmem

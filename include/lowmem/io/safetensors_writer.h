#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lowmem/io/atomic_file.h"
#include "lowmem/io/safetensors.h"

namespace lowmem {

// Writes a safetensors file without ever holding a tensor: the header first, from
// `tensors`, then their bytes in that order, in slices of any size. The file appears
// under its name only with finish() (see AtomicFile); room on the disk is set aside at
// once.
//
// The data begins at a multiple of 8 bytes and has no gaps, so a tensor is aligned where
// those before it leave it so: list wider types first, some readers depend on it.
//
// Calls that do not fit `tensors` are bugs and throw std::logic_error; what the disk
// refuses throws Error.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                    const std::map<std::string, std::string>& metadata = {
                        {"format", "pt"}});

  // The next bytes of the tensor `name`, which must be the first that is not complete. A
  // slice does not reach into the next tensor. Empty slices are ignored.
  void write(std::string_view name, std::span<const std::byte> slice);

  // Whether every tensor has all its bytes.
  bool is_complete() const { return current_ == tensors_.size(); }
  // Waits for the disk; finish() does so itself.
  void sync() { file_.sync(); }
  void finish();
  // What has been written, header included.
  const AtomicFile& file() const { return file_; }

 private:
  void skip_complete();

  AtomicFile file_;
  std::vector<TensorSpec> tensors_;
  size_t current_ = 0;   // the tensor being written
  int64_t written_ = 0;  // its bytes so far
};

}  // namespace lowmem

#pragma once

#include <filesystem>
#include <optional>

#include "lowmem/io/descriptor.h"

namespace lowmem {

// A lock on a file that holds nothing else, for as long as the object lives; the system
// lifts it when the process ends, however it ends. The file stays.
class FileLock {
 public:
  // Makes the file where there is none. nullopt where another process, or another object
  // of this one, holds the lock. Throws Error where the file cannot be opened.
  static std::optional<FileLock> take(const std::filesystem::path& path);

  // Whether someone holds it now. False where there is no such file.
  static bool is_held(const std::filesystem::path& path);

 private:
  explicit FileLock(Descriptor file) : file_(std::move(file)) {}
  Descriptor file_;
};

}  // namespace lowmem

#pragma once

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "lowmem/core/error.h"

// What the libFuzzer programs share. Each defines
//   extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
namespace lowmem::fuzz {

// Reads the input. What does not please the reader must be an Error: every other
// exception leaves, which libFuzzer reports.
template <class Read>
void only_errors(const Read& read) {
  try {
    read();
  } catch (const Error&) {
  }
}

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Ends the program as a finding unless `holds`.
inline void require(bool holds) {
  if (!holds) std::abort();
}

// A file in memory alone, for readers that take a path.
class InputFile {
 public:
  InputFile() : number_(::memfd_create("input", MFD_CLOEXEC)) { require(number_ >= 0); }
  ~InputFile() { ::close(number_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  // Replaces the content. `zeros` more bytes follow, which take no memory.
  void write(std::string_view content, int64_t zeros = 0) {
    const auto size = static_cast<ssize_t>(content.size());
    require(::ftruncate(number_, 0) == 0);
    require(::pwrite(number_, content.data(), content.size(), 0) == size);
    require(::ftruncate(number_, size + zeros) == 0);
  }
  std::filesystem::path path() const {
    return "/proc/self/fd/" + std::to_string(number_);
  }

 private:
  int number_;
};

// A folder of files in memory, below TMPDIR, that goes with the process.
class InputFolder {
 public:
  InputFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "lowmem-fuzz-XXXXXX").string();
    require(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~InputFolder() {
    std::error_code code;
    std::filesystem::remove_all(path_, code);
  }
  InputFolder(const InputFolder&) = delete;
  InputFolder& operator=(const InputFolder&) = delete;

  // `file` is found in the folder as `name`.
  void add(const std::string& name, const InputFile& file) {
    std::filesystem::create_symlink(file.path(), path_ / name);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace lowmem::fuzz

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "lowmem/io/checksum.h"
#include "lowmem/io/descriptor.h"

namespace lowmem {

// A file that appears under its name complete or not at all. What is written goes to
// `.<name>.partial` in the same folder; commit() puts it in place of whatever had the
// name, and only then does anyone see it. Destroyed without commit(), the partial file is
// removed and an older file stays as it was.
//
// A partial file left by a killed process is overwritten by the next writer of that name;
// two writers of one name at the same time are refused. A symbolic link is replaced, not
// followed; folders, devices and pipes, also at the end of a link, are refused.
//
// Every failure throws Error with the path, the system's reason and what to do. A process
// that runs under a file size limit must ignore SIGXFSZ to see that Error.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Sets `bytes` of the disk aside, so that a full disk shows now and not at the end.
  // Does nothing on file systems that cannot.
  void reserve(int64_t bytes);

  // Appends. Unbuffered: one system call each, so write in pieces of many KiB.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  int64_t bytes_written() const { return bytes_written_; }
  // Of those bytes.
  uint64_t checksum() const { return checksum_.value(); }

  // Waits until the disk holds what was written. commit() does so itself; calling it
  // earlier shows errors earlier.
  void sync();

  // Syncs, renames into place and syncs the folder. Nothing may be written after it.
  void commit();

  const std::filesystem::path& path() const { return path_; }

 private:
  void open_partial();

  std::filesystem::path path_;
  std::filesystem::path folder_;
  std::filesystem::path partial_;
  Descriptor file_;
  int64_t bytes_written_ = 0;
  Checksum checksum_;
};

// The file at `path` is the old one or `text`, whole, whatever happens meanwhile.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

}  // namespace lowmem

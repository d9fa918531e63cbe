#include "lowmem/io/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "io/system_error.h"

namespace lowmem {

std::optional<FileLock> FileLock::take(const std::filesystem::path& path) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!file.is_open()) throw system_error(path, "cannot be written", errno);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::nullopt;
    throw system_error(path, "cannot be locked", errno);
  }
  return FileLock(std::move(file));
}

bool FileLock::is_held(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file.is_open() && ::flock(file.get(), LOCK_EX | LOCK_NB) != 0 &&
         errno == EWOULDBLOCK;
}

}  // namespace lowmem

#include "lowmem/io/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <cstring>

#include "io/system_error.h"
#include "lowmem/core/log.h"

namespace lowmem {
namespace {

// As of network file systems that are mounted without them.
bool lacks_locks(int code) {
  return code == ENOSYS || code == ENOLCK || code == EOPNOTSUPP || code == ENOTSUP;
}

}  // namespace

std::optional<FileLock> FileLock::take(const std::filesystem::path& path) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!file.is_open()) throw system_error(path, "cannot be written", errno);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::nullopt;
    if (!lacks_locks(errno)) throw system_error(path, "cannot be locked", errno);
    log::warn(path.string() + ": the file system has no locks (" + std::strerror(errno) +
              "); see yourself that no other run works in this folder");
  }
  return FileLock(std::move(file));
}

bool FileLock::is_held(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file.is_open() && ::flock(file.get(), LOCK_EX | LOCK_NB) != 0 &&
         errno == EWOULDBLOCK;
}

}  // namespace lowmem

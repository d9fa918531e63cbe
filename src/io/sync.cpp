#include "lowmem/io/sync.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "io/system_error.h"
#include "lowmem/core/log.h"
#include "lowmem/io/descriptor.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNotSynced = "could not be brought to the disk";

// fsync(2): what a file system answers that has no such operation, here of a folder. All
// else is a failure, and none that another try could mend: the system forgets what it
// could not write.
bool is_unknown_here(int code) {
  return code == EINVAL || code == ENOSYS || code == EOPNOTSUPP || code == ENOTSUP;
}

void warn_once(const fs::path& path, int code) {
  static std::atomic_flag warned;
  if (warned.test_and_set()) return;
  log::warn(path.string() + ": the file system does not say when it is on the disk (" +
            std::strerror(code) + "); after a power failure it may be lost");
}

}  // namespace

void sync_descriptor(int descriptor, const fs::path& path) {
  int code = 0;
  do {
    code = ::fsync(descriptor) == 0 ? 0 : errno;
  } while (code == EINTR);
  if (code == 0) return;
  if (!is_unknown_here(code)) throw system_error(path, kNotSynced, code);
  warn_once(path, code);
}

void sync_file(const fs::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) throw system_error(path, kNotSynced, errno);
  sync_descriptor(file.get(), path);
}

void sync_folder(const fs::path& path) {
  const fs::path folder = path.empty() ? "." : path;
  const Descriptor open(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!open.is_open()) throw system_error(folder, kNotSynced, errno);
  sync_descriptor(open.get(), folder);
}

void make_folders(const fs::path& path) {
  const fs::path whole = fs::absolute(path).lexically_normal();
  const fs::path folder = whole.has_filename() ? whole : whole.parent_path();
  std::error_code code;
  if (fs::is_directory(folder, code)) return;
  if (folder.has_relative_path()) make_folders(folder.parent_path());
  // Another process may have made it meanwhile.
  if (!fs::create_directory(folder, code) && code)
    throw system_error(path, "cannot be made", code.value());
  if (!fs::is_directory(folder, code))
    throw system_error(path, "cannot be made", code ? code.value() : ENOTDIR);
  sync_folder(folder.parent_path());
}

}  // namespace lowmem

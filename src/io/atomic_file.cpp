#include "lowmem/io/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>

#include "io/system_error.h"
#include "lowmem/io/sync.h"

namespace lowmem {
namespace {

constexpr const char* kCannotWrite = "cannot be written";
constexpr int kOpenAttempts = 100;

bool is_same_file(int descriptor, const std::filesystem::path& path) {
  struct stat open_file {};
  struct stat named {};
  return ::fstat(descriptor, &open_file) == 0 && ::lstat(path.c_str(), &named) == 0 &&
         open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code code;
  const auto status = std::filesystem::status(path_, code);
  if (!path_.has_filename() || std::filesystem::is_directory(status))
    throw Error(path_.string(), "is a folder, where a file is to be written",
                "Give the path of a file, or move the folder away");
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    throw Error(path_.string(),
                "is a pipe, device or socket, where a file is to be written",
                "Give the path of a file");
  folder_ = path_.has_parent_path() ? path_.parent_path() : ".";
  partial_ = folder_ / ("." + path_.filename().string() + ".partial");
  open_partial();
}

// The lock lasts as long as the descriptor. Between opening and locking, the writer that
// held it may have renamed or removed the file; then the name is opened anew.
void AtomicFile::open_partial() {
  for (int attempt = 0; attempt < kOpenAttempts; ++attempt) {
    Descriptor file(
        ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (!file.is_open()) throw system_error(path_, kCannotWrite, errno);
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) break;
    if (!is_same_file(file.get(), partial_)) continue;
    file_ = std::move(file);
    if (::ftruncate(file_.get(), 0) != 0) throw system_error(path_, kCannotWrite, errno);
    return;
  }
  throw Error(path_.string(), "is being written by another process",
              "Wait until that one is done, or choose another folder");
}

AtomicFile::~AtomicFile() {
  if (file_.is_open()) ::unlink(partial_.c_str());
}

void AtomicFile::reserve(int64_t bytes) {
  if (bytes <= 0) return;
  if (::fallocate(file_.get(), FALLOC_FL_KEEP_SIZE, 0, bytes) == 0) return;
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
    throw system_error(path_, kCannotWrite, errno);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  assert(file_.is_open());
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw system_error(path_, kCannotWrite, errno);
    if (written == 0) throw system_error(path_, kCannotWrite, EIO);
    const auto done = static_cast<size_t>(written);
    checksum_.add(bytes.first(done));
    bytes = bytes.subspan(done);
    bytes_written_ += written;
  }
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void AtomicFile::sync() {
  assert(file_.is_open());
  sync_descriptor(file_.get(), path_);
}

void AtomicFile::commit() {
  sync();
  if (::rename(partial_.c_str(), path_.c_str()) != 0)
    throw system_error(path_, "cannot be put in place", errno);
  // After the rename, which the lock covers. A file system may keep an error until here.
  if (const int code = file_.close(); code != 0 && code != EINTR)
    throw system_error(path_, "could not be brought to the disk", code);
  sync_folder(folder_);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace lowmem

#include "lowmem/io/atomic_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "io/system_error.h"
#include "lowmem/io/descriptor.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNotSynced = "could not be brought to the disk";

fs::path partial_of(const fs::path& path) {
  return path.parent_path() / ("." + path.filename().string() + ".partial");
}

void rename_or_throw(const fs::path& from, const fs::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0)
    throw system_error(to, "cannot be put in place", errno);
}

void remove_all_or_throw(const fs::path& path) {
  std::error_code code;
  fs::remove_all(path, code);
  if (code) throw system_error(path, "cannot be removed", code.value());
}

}  // namespace

AtomicFolder::AtomicFolder(const fs::path& path)
    : final_(path), partial_(partial_of(path)) {
  remove_all_or_throw(partial_);
  std::error_code code;
  fs::create_directories(partial_, code);
  if (code) throw system_error(partial_, "cannot be made", code.value());
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(partial_, ignored);
}

void AtomicFolder::commit() {
  sync_folder(partial_);
  std::error_code code;
  if (fs::exists(final_, code)) {
    const fs::path older = partial_of(final_.string() + ".old");
    remove_all_or_throw(older);
    rename_or_throw(final_, older);
    rename_or_throw(partial_, final_);
    remove_all_or_throw(older);
  } else {
    rename_or_throw(partial_, final_);
  }
  committed_ = true;
  sync_folder(final_.parent_path());
}

void remove_folder(const fs::path& path) {
  const fs::path partial = partial_of(path);
  remove_all_or_throw(partial);
  rename_or_throw(path, partial);
  remove_all_or_throw(partial);
}

bool is_partial(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with('.') && name.ends_with(".partial");
}

void sync_file(const fs::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open() || ::fsync(file.get()) != 0)
    throw system_error(path, kNotSynced, errno);
}

void sync_folder(const fs::path& path) {
  const Descriptor open(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // A folder that may be written to but not read, or whose file system has no such
  // operation, cannot be synced; its files already are.
  if (!open.is_open()) return;
  if (::fsync(open.get()) != 0 && errno != EINVAL && errno != ENOTSUP)
    throw system_error(path, kNotSynced, errno);
}

}  // namespace lowmem

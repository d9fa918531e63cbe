#include "lowmem/io/atomic_folder.h"

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "io/system_error.h"
#include "lowmem/io/sync.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;

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

// Where a folder comes from the lower layer of an overlay, as in an image of a container,
// it cannot be renamed: then it is removed under its name.
void put_away(const fs::path& path, const fs::path& to) {
  if (std::rename(path.c_str(), to.c_str()) == 0) return;
  if (errno != EXDEV) throw system_error(path, "cannot be put away", errno);
  remove_all_or_throw(path);
}

}  // namespace

AtomicFolder::AtomicFolder(const fs::path& path)
    : final_(path), partial_(partial_of(path)) {
  remove_all_or_throw(partial_);
  make_folders(partial_);
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
    put_away(final_, older);
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
  put_away(path, partial);
  remove_all_or_throw(partial);
}

bool is_partial(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with('.') && name.ends_with(".partial");
}

}  // namespace lowmem

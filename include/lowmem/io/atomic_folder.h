#pragma once

#include <filesystem>

namespace lowmem {

// A folder that appears under its name with everything in it or not at all. Files are
// written to `.<name>.partial` beside it, which path() is; commit() syncs and renames it,
// in place of an older folder of that name. Destroyed without commit(), it is removed.
//
// A partial folder left by a killed process is removed by the next writer of that name.
// One writer at a time: the caller holds a lock. Failures throw Error with the path, the
// system's reason and what to do.
class AtomicFolder {
 public:
  explicit AtomicFolder(const std::filesystem::path& path);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  // Where to write to.
  const std::filesystem::path& path() const { return partial_; }
  // The files must have been synced, as AtomicFile::commit() does.
  void commit();

 private:
  std::filesystem::path final_, partial_;
  bool committed_ = false;
};

// Removes a folder so that no reader ever sees part of it.
void remove_folder(const std::filesystem::path& path);

// Whether `path` is what a killed process left of one of these.
bool is_partial(const std::filesystem::path& path);

}  // namespace lowmem

#pragma once

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace lowmem::test {

inline bool write_to(const std::filesystem::path& file, const std::string& text) {
  std::ofstream out(file);
  out << text << std::flush;
  return out.good();
}

// A control group of its own, of the second version or of a controller of the first one;
// gone with this object. Empty where this system lets nobody make one that has any of
// `files`.
class ControlGroup {
 public:
  ControlGroup(const std::string& controller, const std::vector<std::string>& files) {
    namespace fs = std::filesystem;
    const std::string own = "lowmem-test-" + std::to_string(::getpid());
    std::error_code code;
    for (const fs::path& root :
         {fs::path("/sys/fs/cgroup"), fs::path("/sys/fs/cgroup") / controller}) {
      const fs::path group = root / own;
      if (!fs::exists(root / "cgroup.procs") || !fs::create_directory(group, code))
        continue;
      for (const std::string& file : files)
        if (fs::exists(group / file)) {
          path_ = group;
          return;
        }
      fs::remove(group, code);
    }
  }
  ~ControlGroup() {
    std::error_code code;
    if (!path_.empty()) std::filesystem::remove(path_, code);
  }
  ControlGroup(const ControlGroup&) = delete;
  ControlGroup& operator=(const ControlGroup&) = delete;

  const std::filesystem::path& path() const { return path_; }
  bool has(const char* file) const { return std::filesystem::exists(path_ / file); }
  // For a child, before it becomes the program.
  bool enter() const {
    return write_to(path_ / "cgroup.procs", std::to_string(::getpid()));
  }

 private:
  std::filesystem::path path_;
};

// Reads and writes of the disk that `folder` lies on go no faster than so many bytes a
// second in the group. False where that cannot be had.
inline bool slow_down(const ControlGroup& group, const std::filesystem::path& folder,
                      int64_t bytes) {
  struct stat found {};
  if (::stat(folder.c_str(), &found) != 0) return false;
  const std::string disk = std::to_string(major(found.st_dev)) + ":" +
                           std::to_string(minor(found.st_dev)) + " ";
  const std::string rate = std::to_string(bytes);
  if (group.has("io.max"))
    return write_to(group.path() / "io.max", disk + "rbps=" + rate + " wbps=" + rate);
  return write_to(group.path() / "blkio.throttle.read_bps_device", disk + rate) &&
         write_to(group.path() / "blkio.throttle.write_bps_device", disk + rate);
}

}  // namespace lowmem::test

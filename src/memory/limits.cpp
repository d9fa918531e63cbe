#include "lowmem/memory/limits.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

#include "lowmem/core/error.h"
#include "lowmem/core/units.h"

namespace lowmem::memory {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

// The smallest number in the files `name` of a group and those above it, up to `root`. A
// file says `max`, or a number beyond any memory, where there is no limit.
int64_t smallest_limit(const fs::path& root, const fs::path& group, const char* name) {
  int64_t smallest = kNoLimit;
  for (fs::path at = group.relative_path();; at = at.parent_path()) {
    int64_t limit = 0;
    if (std::ifstream(root / at / name) >> limit && limit > 0)
      smallest = std::min(smallest, limit);
    if (at.empty()) return smallest;
  }
}

// https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html: a line
// `number:controllers:path` a hierarchy, the second version's being `0::path`.
int64_t group_limit() {
  int64_t limit = kNoLimit;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    std::istringstream parts(line);
    std::string number, controllers, path;
    std::getline(parts, number, ':');
    std::getline(parts, controllers, ':');
    std::getline(parts, path);
    if (controllers.empty())
      limit = std::min(limit, smallest_limit("/sys/fs/cgroup", path, "memory.max"));
    else if (controllers == "memory")
      limit = std::min(
          limit, smallest_limit("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"));
  }
  return limit;
}

}  // namespace

int64_t machine_bytes() {
  static const int64_t bytes = [] {
    struct sysinfo system {};
    sysinfo(&system);
    const auto all =
        static_cast<int64_t>((system.totalram + system.totalswap) * system.mem_unit);
    return std::min(all, group_limit());
  }();
  return bytes;
}

int64_t address_limit() {
  int64_t smallest = kNoLimit;
  for (const auto resource : {RLIMIT_AS, RLIMIT_DATA}) {
    rlimit limit{};
    if (getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
      smallest = std::min(
          smallest, static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, kNoLimit)));
  }
  return smallest;
}

// Asked of the system itself, which knows every limit (addresses, data, overcommitment).
bool has_reserve() {
  constexpr size_t kReserve = 64 << 20;
  void* found =
      mmap(nullptr, kReserve, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (found == MAP_FAILED) return false;
  munmap(found, kReserve);
  return true;
}

void require_reserve() {
  if (has_reserve()) return;
  const int64_t limit = address_limit();
  const bool limited = limit < machine_bytes();
  throw Error("memory",
              "is exhausted: what the program itself takes leaves less than 64.0 MiB" +
                  (limited ? " of the " + format_bytes(limit) + " that it may have" : ""),
              limited ? "Lift the limit on the process, as with `ulimit -v unlimited -d "
                        "unlimited`"
                      : "Let other processes end, or give the machine more memory");
}

int64_t private_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0, shared = 0;
  statm >> total >> resident >> shared;
  return (resident - shared) * sysconf(_SC_PAGESIZE);
}

int64_t available_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  int64_t kilobytes = 0;
  for (std::string key, line; meminfo >> key && std::getline(meminfo, line);)
    if (key == "MemAvailable:" || key == "SwapFree:") kilobytes += std::stoll(line);
  return kilobytes * 1024;
}

}  // namespace lowmem::memory

#include "lowmem/train/disk.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include <algorithm>

#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/core/units.h"
#include "lowmem/train/run_folder.h"
#include "lowmem/weights/adapter_start.h"

namespace lowmem::train {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const RunConfig& config) {
  return fs::path(config.run.dir) / config.run.name;
}

// The folder itself, or the first above it that is there.
fs::path existing(const fs::path& folder) {
  std::error_code code;
  fs::path there = fs::absolute(folder, code).lexically_normal();
  while (!fs::exists(there, code) && there.has_relative_path())
    there = there.parent_path();
  return there;
}

bool on_one_disk(const fs::path& a, const fs::path& b) {
  struct stat of_a {
  }, of_b{};
  return ::stat(existing(a).c_str(), &of_a) == 0 &&
         ::stat(existing(b).c_str(), &of_b) == 0 && of_a.st_dev == of_b.st_dev;
}

int64_t bytes_in(const fs::path& folder) {
  int64_t bytes = 0;
  std::error_code code;
  for (fs::recursive_directory_iterator at(folder, code), end; !code && at != end;
       at.increment(code)) {
    std::error_code of_file;
    if (at->is_regular_file(of_file) && !of_file)
      bytes += static_cast<int64_t>(at->file_size(of_file));
    if (of_file) code = of_file;
  }
  return bytes;
}

}  // namespace

int64_t DiskNeed::more() const {
  return std::max<int64_t>(0, model + best + checkpoints * checkpoint - there) + working;
}

DiskNeed disk_need(const RunConfig& config, const Written& written) {
  const TrainConfig& train = config.train;
  DiskNeed need;
  const bool adapter = config.adapter.kind != AdapterKind::kNone;
  const int64_t made = adapter ? written.trained : written.weights;
  // What the pair began with, by itself and in the result.
  const int64_t taken =
      weights::takes_from_base(config.adapter) ? 2 * written.trained : 0;
  // The model with its codes, where these are made anew.
  const int64_t base = weights::makes_codes_anew(config.adapter) ? written.stored : 0;
  need.model =
      made + taken + base + (adapter && config.adapter.merge ? written.weights : 0);
  (on_one_disk(scratch_folder(config), folder_of(config)) ? need.working
                                                          : need.elsewhere) =
      written.working;
  // The best so far stays until a better one is whole, and one more until a checkpoint
  // knows of it.
  if (train.keep_best)
    need.best =
        made * std::min<int64_t>(written.evaluations, train.save_every > 0 ? 3 : 2);
  if (train.save_every > 0) {
    need.checkpoint =
        written.beside + (train.whole_checkpoints ? written.weights : written.trained);
    need.checkpoints = train.keep_checkpoints == 0
                           ? written.saves
                           : std::min(written.saves, train.keep_checkpoints + 1);
  }
  const fs::path folder = folder_of(config);
  for (const char* name : {"model", "adapter", kBaseFolder, "best", "checkpoints"})
    need.there += bytes_in(folder / name);
  return need;
}

fs::path scratch_folder(const RunConfig& config) {
  return config.memory.scratch.empty() ? existing(config.run.dir)
                                       : fs::path(config.memory.scratch);
}

void warn_of_memory(const fs::path& folder) {
  struct statfs system {};
  if (::statfs(folder.c_str(), &system) != 0) return;
  if (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC)
    log::warn(folder.string() +
              " is memory itself (tmpfs): what lives there takes as much of it as "
              "before. Name a folder on a disk as memory.scratch");
}

int64_t free_disk(const fs::path& folder) {
  const fs::path there = existing(folder);
  struct statvfs disk {};
  if (::statvfs(there.c_str(), &disk) != 0 || disk.f_blocks == 0) return -1;
  return static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
}

void refuse_full_disk(const RunConfig& config, const DiskNeed& need) {
  const int64_t room = free_disk(scratch_folder(config));
  if (room >= 0 && need.elsewhere > room && !config.memory.force)
    throw Error("memory.scratch = " + config.memory.scratch,
                "is on a disk with " + format_bytes(room) +
                    " free, and what lives on it takes " +
                    format_bytes_up(need.elsewhere),
                "Free that much, or name another folder");
  const int64_t free = free_disk(folder_of(config));
  if (free < 0 || need.more() <= free || config.memory.force) return;
  std::string parts = "the model " + format_bytes_up(need.model);
  if (need.checkpoints > 0)
    parts += ", " + format_count(need.checkpoints, "checkpoint") + " of " +
             format_bytes_up(need.checkpoint);
  if (need.working > 0)
    parts += ", what lives on the disk while it runs " + format_bytes_up(need.working);
  if (need.best > 0) parts += ", the best so far " + format_bytes_up(need.best);
  throw Error(folder_of(config).string(),
              "is on a disk with " + format_bytes(free) + " free, and the run writes " +
                  format_bytes_up(need.more()) + " to it (" + parts + ")",
              "Free space on that disk, choose another run.dir" +
                  std::string(need.checkpoints > 1 ? ", keep fewer checkpoints "
                                                     "(train.keep_checkpoints)"
                                                   : "") +
                  ", or set memory.force = true to begin all the same");
}

}  // namespace lowmem::train

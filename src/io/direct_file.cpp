#include "lowmem/io/direct_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <stdexcept>

#include "io/system_error.h"
#include "io/transfer_queue.h"
#include "io/transfer_workers.h"
#include "lowmem/core/units.h"
#include "lowmem/io/descriptor.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCannotHold = "cannot hold a working file";

// O_EXCL: no name can be given to it later. Where the file system has no files without a
// name, the name lasts for a moment.
Descriptor make_file(const fs::path& folder) {
  Descriptor file(::open(folder.c_str(), O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (file.is_open()) return file;
  if (errno == ENOENT)
    throw Error(folder.string(), "is not there, and is to hold a working file",
                "Make that folder, or name another one");
  if (errno != EOPNOTSUPP && errno != EISDIR)
    throw system_error(folder, kCannotHold, errno);
  std::string name = (folder / ".lowmem-working-XXXXXX").string();
  file = Descriptor(::mkostemp(name.data(), O_CLOEXEC));
  if (!file.is_open()) throw system_error(folder, kCannotHold, errno);
  if (::unlink(name.c_str()) != 0) throw system_error(folder, kCannotHold, errno);
  return file;
}

bool set_direct(int file, bool direct) {
  const int flags = ::fcntl(file, F_GETFL);
  return flags >= 0 &&
         ::fcntl(file, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

// Whether transfers now go past the page cache. The flag alone does not say so: a disk
// may ask for larger blocks, which a first one shows.
bool make_direct(int file) {
  alignas(DirectFile::kAlignment) static const std::byte zeros[DirectFile::kAlignment]{};
  if (!set_direct(file, true)) return false;
  const bool refused = ::pwrite(file, zeros, sizeof zeros, 0) < 0 && errno == EINVAL;
  if (::ftruncate(file, 0) == 0 && !refused) return true;
  set_direct(file, false);
  return false;
}

// In blocks that are set aside, or, where the file system cannot, in size alone.
int make_larger(int file, int64_t from, int64_t bytes) {
  int code = 0;
  do {
    code = ::fallocate(file, 0, from, bytes) == 0 ? 0 : errno;
  } while (code == EINTR);
  if (code == EOPNOTSUPP || code == ENOSYS)
    code = ::ftruncate(file, from + bytes) == 0 ? 0 : errno;
  else if (code != 0 && ::ftruncate(file, from) != 0)  // what it did set aside
    return errno;
  return code;
}

std::string free_room(int file) {
  struct statvfs disk {};
  if (::fstatvfs(file, &disk) != 0) return "an unknown number of bytes";
  return format_bytes(static_cast<int64_t>(disk.f_bavail * disk.f_frsize));
}

Error transfer_error(const fs::path& folder, const Transfer& piece, int code) {
  if (code == kCutShort)
    return Error(folder.string(),
                 "holds a working file that something else has cut short: at byte " +
                     std::to_string(piece.offset) + " there is nothing to read",
                 "See that nothing else writes to this program's files, and start again");
  return system_error(folder,
                      std::string("holds a working file that could not be ") +
                          (piece.is_write ? "written" : "read"),
                      code);
}

bool is_aligned(int64_t value) { return value % DirectFile::kAlignment == 0; }

}  // namespace

struct DirectFile::State {
  State(fs::path in, Way way)
      : folder(in.empty() ? "." : std::move(in)),
        descriptor(make_file(folder)),
        file{descriptor.get(), way != Way::kPageCache && make_direct(descriptor.get())},
        queue([this](const Transfer& piece, int code) {
          return transfer_error(folder, piece, code);
        }) {
    if (way == Way::kRing || (way == Way::kAuto && file.is_direct))
      workers = file.is_direct ? make_ring_workers(file, queue) : nullptr;
    if (!workers && way == Way::kRing)
      throw Error(folder.string(), "cannot hold a working file that io_uring transfers",
                  "Use another way: threads need neither io_uring nor O_DIRECT");
    if (!workers) workers = make_thread_workers(file, queue);
  }

  Ticket give(bool is_write, int64_t offset, const std::byte* memory, size_t bytes) {
    const auto count = static_cast<int64_t>(bytes);
    if (!is_aligned(offset) || !is_aligned(count) ||
        !is_aligned(static_cast<int64_t>(reinterpret_cast<uintptr_t>(memory))))
      throw std::logic_error("DirectFile: a range that is not aligned");
    if (offset < 0 || count > size() - offset)
      throw std::logic_error("DirectFile: a range beyond its end");
    const Ticket ticket =
        queue.add({is_write, offset, const_cast<std::byte*>(memory), count});
    if (workers)
      workers->wake();
    else
      while (const auto piece = queue.take_now())
        queue.ended(*piece, transfer(file, *piece));
    return ticket;
  }

  int64_t size() const {
    const std::lock_guard lock(mutex);
    return end;
  }

  const fs::path folder;
  const Descriptor descriptor;
  const TransferFile file;
  mutable std::mutex mutex;
  int64_t end = 0;
  TransferQueue queue;
  std::unique_ptr<TransferWorkers> workers;  // null: whoever asks does the work
};

DirectFile::DirectFile(fs::path folder, Way way)
    : state_(std::make_unique<State>(std::move(folder), way)) {}

DirectFile::~DirectFile() = default;

int64_t DirectFile::extend(int64_t bytes) {
  if (bytes < 0 || !is_aligned(bytes))
    throw std::logic_error("DirectFile: a size that is not aligned");
  const std::lock_guard lock(state_->mutex);
  const int64_t from = state_->end;
  if (bytes == 0) return from;
  const int file = state_->descriptor.get();
  if (const int code = make_larger(file, from, bytes); code != 0)
    throw system_error(state_->folder,
                       "has " + free_room(file) + " free, and its working file of " +
                           format_bytes(from) + " needs " + format_bytes_up(bytes) +
                           " more",
                       code);
  state_->end += bytes;
  return from;
}

int64_t DirectFile::size() const { return state_->size(); }

DirectFile::Ticket DirectFile::read(int64_t offset, std::span<std::byte> to) {
  return state_->give(false, offset, to.data(), to.size());
}

DirectFile::Ticket DirectFile::write(int64_t offset, std::span<const std::byte> from) {
  return state_->give(true, offset, from.data(), from.size());
}

bool DirectFile::done(Ticket ticket) const { return state_->queue.done(ticket); }
void DirectFile::wait(Ticket ticket) { state_->queue.wait(ticket); }
void DirectFile::wait_all() { state_->queue.wait_all(); }
DirectFile::Traffic DirectFile::traffic() const { return state_->queue.traffic(); }
const fs::path& DirectFile::folder() const { return state_->folder; }

std::string DirectFile::way() const {
  return std::string(state_->file.is_direct ? "direct" : "page cache") + ", " +
         (state_->workers ? state_->workers->name() : "no threads");
}

}  // namespace lowmem

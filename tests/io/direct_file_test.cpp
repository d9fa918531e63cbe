#include "lowmem/io/direct_file.h"

#include <gmock/gmock.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "io/error_of.h"
#include "io/file_size_limit.h"
#include "io/temp_folder.h"
#include "lowmem/core/units.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;
using test::count_files;
using test::error_of;
using test::FileSizeLimit;
using test::read_text;
using test::TempFolder;
using ::testing::HasSubstr;
using Way = DirectFile::Way;

constexpr int64_t kBlock = DirectFile::kAlignment;

// Memory as a DirectFile takes it.
class Memory {
 public:
  explicit Memory(int64_t bytes, int fill = 0)
      : size_(static_cast<size_t>(bytes)),
        bytes_(static_cast<std::byte*>(std::aligned_alloc(kBlock, size_)), std::free) {
    std::memset(bytes_.get(), fill, size_);
  }
  std::span<std::byte> all() const { return {bytes_.get(), size_}; }
  std::span<std::byte> at(int64_t offset, int64_t bytes) const {
    return all().subspan(static_cast<size_t>(offset), static_cast<size_t>(bytes));
  }
  void randomize(uint64_t seed) const {
    std::mt19937_64 random(seed);
    for (size_t i = 0; i < size_; i += sizeof(uint64_t)) {
      const uint64_t number = random();
      std::memcpy(bytes_.get() + i, &number, sizeof number);
    }
  }

 private:
  size_t size_;
  std::unique_ptr<std::byte, decltype(&std::free)> bytes_;
};

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

bool all_are(std::span<const std::byte> bytes, int value) {
  return std::ranges::all_of(bytes, [&](std::byte b) { return b == std::byte(value); });
}

// The descriptor of a file that has no name any more and lay in `folder`.
int descriptor_in(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code code;
    const std::string target = fs::read_symlink(entry.path(), code).string();
    if (target.starts_with(fs::canonical(folder).string() + "/"))
      return std::stoi(entry.path().filename().string());
  }
  return -1;
}

class DirectFileOf : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    try {
      file_.emplace(folder_.path(), GetParam());
    } catch (const Error& error) {
      if (GetParam() != Way::kRing) throw;
      GTEST_SKIP() << error.what();
    }
  }
  DirectFile& file() { return *file_; }

  TempFolder folder_;
  std::optional<DirectFile> file_;
};

TEST_P(DirectFileOf, GivesBackWhatWasWritten) {
  constexpr int64_t kBytes = 24 * kMiB;
  const Memory written(kBytes), read(kBytes);
  written.randomize(1);
  ASSERT_EQ(file().extend(kBytes), 0);
  std::mt19937_64 random(2);
  for (int64_t at = 0; at < kBytes;) {  // in sizes of one block to ten pieces
    const int64_t most = (kBytes - at) / kBlock;
    const int64_t bytes = kBlock * (1 + static_cast<int64_t>(random() % most));
    file().write(at, written.at(at, bytes));
    at += bytes;
  }
  for (int64_t at = 0; at < kBytes;) {
    const int64_t most = std::min<int64_t>((kBytes - at) / kBlock, 700);
    const int64_t bytes = kBlock * (1 + static_cast<int64_t>(random() % most));
    file().read(at, read.at(at, bytes));
    at += bytes;
  }
  file().wait_all();
  EXPECT_TRUE(same(written.all(), read.all()));
}

TEST_P(DirectFileOf, IsZeroBeforeItIsWritten) {
  const Memory read(8 * kBlock, 1);
  file().extend(8 * kBlock);
  file().wait(file().read(0, read.all()));
  EXPECT_TRUE(all_are(read.all(), 0));
}

TEST_P(DirectFileOf, GrowsAtTheEnd) {
  EXPECT_EQ(file().extend(3 * kBlock), 0);
  EXPECT_EQ(file().extend(kBlock), 3 * kBlock);
  EXPECT_EQ(file().extend(0), 4 * kBlock);
  EXPECT_EQ(file().size(), 4 * kBlock);
}

TEST_P(DirectFileOf, KeepsTheOrderOfWritesToTheSameBytes) {
  constexpr int64_t kBytes = 9 * kMiB;
  file().extend(kBytes);
  const Memory a(kBytes, 'a'), b(kBytes, 'b'), read(kBytes);
  file().write(0, a.all());
  file().write(0, b.all());
  file().wait(file().read(0, read.all()));
  EXPECT_TRUE(all_are(read.all(), 'b'));
}

TEST_P(DirectFileOf, WritesFromMemoryWhatWasReadIntoItBefore) {
  constexpr int64_t kBytes = 9 * kMiB;
  file().extend(2 * kBytes);
  const Memory a(kBytes), both(kBytes), read(kBytes);
  a.randomize(3);
  file().write(0, a.all());
  file().read(0, both.all());
  file().write(kBytes, both.all());
  file().wait(file().read(kBytes, read.all()));
  EXPECT_TRUE(same(a.all(), read.all()));
}

// Requests of all sizes, over the same memory and the same part of the file, against
// copies between two arrays in the order in which they are given.
TEST_P(DirectFileOf, DoesManyRequestsAsIfOneAfterTheOther) {
  constexpr int64_t kBytes = 12 * kMiB;
  const Memory memory(kBytes), expected_memory(kBytes), expected_file(kBytes);
  memory.randomize(4);
  std::memcpy(expected_memory.all().data(), memory.all().data(), kBytes);
  file().extend(kBytes);
  std::mt19937_64 random(5);
  const auto below = [&](int64_t end) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(end));
  };
  for (int i = 0; i < 200; ++i) {
    const int64_t longest = (i % 10 == 0 ? 9 * kMiB : 64 * kBlock) / kBlock;
    const int64_t bytes = kBlock * (1 + below(longest));
    const int64_t at = kBlock * below((kBytes - bytes) / kBlock + 1);
    const int64_t in_memory = kBlock * below((kBytes - bytes) / kBlock + 1);
    const auto here = memory.at(in_memory, bytes);
    const auto there = expected_memory.at(in_memory, bytes);
    const auto image = expected_file.at(at, bytes);
    if (i % 2 == 0) {
      file().write(at, here);
      std::ranges::copy(there, image.begin());
    } else {
      file().read(at, here);
      std::ranges::copy(image, there.begin());
    }
  }
  file().wait_all();
  EXPECT_TRUE(same(memory.all(), expected_memory.all()));
  file().wait(file().read(0, memory.all()));
  EXPECT_TRUE(same(memory.all(), expected_file.all()));
}

TEST_P(DirectFileOf, SaysWhenARequestIsDone) {
  file().extend(kMiB);
  const Memory memory(kMiB);
  const auto ticket = file().write(0, memory.all());
  while (!file().done(ticket)) std::this_thread::yield();
  EXPECT_EQ(file().traffic().written, kMiB);
  file().wait(ticket);
  EXPECT_TRUE(file().done(0));
  EXPECT_TRUE(file().done(file().write(0, {})));
}

TEST_P(DirectFileOf, CountsItsTraffic) {
  file().extend(16 * kMiB);
  const Memory memory(16 * kMiB);
  EXPECT_EQ(file().traffic().busy_seconds, 0);
  file().write(0, memory.all());
  file().read(kBlock, memory.at(0, 3 * kBlock));
  file().wait_all();
  const auto traffic = file().traffic();
  EXPECT_EQ(traffic.written, 16 * kMiB);
  EXPECT_EQ(traffic.read, 3 * kBlock);
  EXPECT_GT(traffic.busy_seconds, 0);
  EXPECT_LT(traffic.waited_seconds, 60);
  EXPECT_EQ(file().traffic().busy_seconds, traffic.busy_seconds)
      << "nothing is under way";
}

TEST_P(DirectFileOf, WorksWhileOthersCompute) {
  file().extend(8 * kMiB);
  const Memory a(8 * kMiB, 'a'), read(8 * kMiB);
  std::atomic<bool> stop = false;
  std::vector<std::jthread> others;
  for (int i = 0; i < 2; ++i)
    others.emplace_back([&] {
      while (!stop) {
      }
    });
  std::jthread([&] {
    file().write(0, a.all());
    file().wait(file().read(0, read.all()));
  }).join();
  stop = true;
  EXPECT_TRUE(all_are(read.all(), 'a'));
}

TEST_P(DirectFileOf, TakesRequestsOfSeveralThreads) {
  constexpr int kOthers = 4;
  file().extend(kOthers * kMiB);
  std::atomic<int> right = 0;
  {
    std::vector<std::jthread> others;
    for (int i = 0; i < kOthers; ++i)
      others.emplace_back([&, i] {
        const Memory mine(kMiB, i + 1), read(kMiB);
        for (int round = 0; round < 5; ++round) {
          file().write(i * kMiB, mine.all());
          file().wait(file().read(i * kMiB, read.all()));
        }
        right += all_are(read.all(), i + 1);
      });
  }
  EXPECT_EQ(right, kOthers);
}

TEST_P(DirectFileOf, LeavesNothingInTheFolder) {
  file().extend(kMiB);
  const Memory memory(kMiB);
  file().wait(file().write(0, memory.all()));
  EXPECT_EQ(count_files(folder_.path()), 0u);
  EXPECT_GE(descriptor_in(folder_.path()), 0);
  file_.reset();
  EXPECT_EQ(count_files(folder_.path()), 0u);
  EXPECT_EQ(descriptor_in(folder_.path()), -1);
}

TEST_P(DirectFileOf, GoesWithRequestsThatNobodyWaitedFor) {
  file().extend(64 * kMiB);
  const Memory memory(64 * kMiB);
  for (int i = 0; i < 8; ++i) file().write(0, memory.all());
  file_.reset();  // before `memory`
}

TEST_P(DirectFileOf, NamesItselfWhenItWasCutShort) {
  constexpr int64_t kBytes = 16 * kMiB;
  file().extend(kBytes);
  const Memory memory(kBytes);
  file().wait(file().write(0, memory.all()));
  ASSERT_EQ(::ftruncate(descriptor_in(folder_.path()), kBytes / 2 + 100), 0);
  file().wait(file().read(0, memory.at(0, kBytes / 2)));
  const auto bad = file().read(0, memory.all());
  const Error error = error_of([&] { file().wait(bad); });
  EXPECT_EQ(error.thing(), folder_.path().string());
  EXPECT_THAT(error.problem(), HasSubstr("cut short"));
  EXPECT_THAT(error.remedy(), HasSubstr("start again"));
}

// The limit lets half of the first be written.
TEST_P(DirectFileOf, StaysFailed) {
  file().extend(64 * kMiB);
  const Memory memory(32 * kMiB);
  const FileSizeLimit limit(kMiB);
  const auto first = file().write(0, memory.at(0, 2 * kMiB));
  const Error error = error_of([&] { file().wait(first); });
  EXPECT_EQ(error.thing(), folder_.path().string());
  EXPECT_THAT(error.problem(), HasSubstr("could not be written (File too large)"));
  EXPECT_THAT(error.remedy(), HasSubstr("ulimit -f"));
  EXPECT_TRUE(file().done(first));

  const auto next = file().read(0, memory.at(0, kBlock));
  EXPECT_TRUE(file().done(next));
  EXPECT_EQ(error_of([&] { file().wait(next); }).problem(), error.problem());
  EXPECT_EQ(error_of([&] { file().wait(0); }).problem(), error.problem());
  EXPECT_EQ(error_of([&] { file().wait_all(); }).problem(), error.problem());
}

TEST_P(DirectFileOf, DropsWhatComesAfterAFailure) {
  file().extend(64 * kMiB);
  const Memory memory(32 * kMiB);
  const FileSizeLimit limit(kMiB);
  std::vector<DirectFile::Ticket> tickets;
  for (int i = 0; i < 20; ++i) tickets.push_back(file().write(32 * kMiB, memory.all()));
  EXPECT_THAT(error_of([&] { file().wait(tickets[3]); }).problem(),
              HasSubstr("too large"));
  for (const auto ticket : tickets) EXPECT_TRUE(file().done(ticket));
  EXPECT_EQ(file().traffic().written, 0);
}

TEST_P(DirectFileOf, SaysWhatRoomItNeeds) {
  file().extend(kMiB);
  const FileSizeLimit limit(2 * kMiB);
  const Error error = error_of([&] { file().extend(5 * kMiB); });
  EXPECT_EQ(error.thing(), folder_.path().string());
  EXPECT_THAT(error.problem(),
              HasSubstr("its working file of 1.0 MiB needs 5.0 MiB more"));
  EXPECT_THAT(error.remedy(), HasSubstr("ulimit -f"));
  EXPECT_EQ(file().size(), kMiB);
  EXPECT_EQ(file().extend(kMiB), kMiB) << "as it was";
}

TEST_P(DirectFileOf, RefusesWhatIsNotAlignedOrBeyondItsEnd) {
  file().extend(4 * kBlock);
  const Memory memory(8 * kBlock);
  EXPECT_THROW(file().read(1, memory.at(0, kBlock)), std::logic_error);
  EXPECT_THROW(file().read(0, memory.at(0, 100)), std::logic_error);
  EXPECT_THROW(file().write(0, memory.at(512, kBlock)), std::logic_error);
  EXPECT_THROW(file().write(0, memory.at(0, 5 * kBlock)), std::logic_error);
  EXPECT_THROW(file().write(-kBlock, memory.at(0, kBlock)), std::logic_error);
  EXPECT_THROW(file().extend(100), std::logic_error);
  EXPECT_THROW(file().wait(1), std::logic_error);
  file().wait_all();
}

// Of every thread but this one: the bit of a signal in the hexadecimal mask is set.
TEST_P(DirectFileOf, LeavesSignalsToOtherThreads) {
  int threads = 0;
  for (const auto& task : fs::directory_iterator("/proc/self/task")) {
    if (task.path().filename() == std::to_string(::gettid())) continue;
    const std::string status = read_text(task.path() / "status");
    const auto at = status.find("SigBlk:");
    const uint64_t blocked = std::stoull(status.substr(at + 7), nullptr, 16);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGCHLD})
      EXPECT_TRUE(blocked >> (signal - 1) & 1) << signal;
    ++threads;
  }
  EXPECT_GE(threads, 1);
}

std::string name_of(const testing::TestParamInfo<Way>& info) {
  return std::vector{"Auto", "Ring", "Threads", "PageCache"}.at(
      static_cast<size_t>(info.param));
}
INSTANTIATE_TEST_SUITE_P(EachWay, DirectFileOf,
                         testing::Values(Way::kAuto, Way::kRing, Way::kThreads,
                                         Way::kPageCache),
                         name_of);

TEST(DirectFile, SaysItsWay) {
  const TempFolder folder;
  EXPECT_THAT(DirectFile(folder.path(), Way::kThreads).way(), HasSubstr(", 4 threads"));
  EXPECT_EQ(DirectFile(folder.path(), Way::kPageCache).way(), "page cache, 4 threads");
  const DirectFile file(folder.path());
  std::cout << folder.path().string() << ": " << file.way() << "\n";
  EXPECT_EQ(file.folder(), folder.path());
}

// But what was read ahead of a piece that was dropped before.
TEST(DirectFile, KeepsLittleInThePageCache) {
  constexpr size_t kBytes = 64 * kMiB;
  const TempFolder folder;
  struct statfs disk {};
  ASSERT_EQ(::statfs(folder.path().c_str(), &disk), 0);
  if (disk.f_type == TMPFS_MAGIC) GTEST_SKIP() << "the disk here is the page cache";
  for (const Way way : {Way::kAuto, Way::kPageCache}) {
    DirectFile file(folder.path(), way);
    file.extend(kBytes);
    const Memory memory(kBytes);
    file.write(0, memory.all());
    file.read(0, memory.all());
    file.wait_all();
    void* mapped =
        ::mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, descriptor_in(folder.path()), 0);
    ASSERT_NE(mapped, MAP_FAILED);
    std::vector<unsigned char> pages(kBytes / static_cast<size_t>(::getpagesize()));
    EXPECT_EQ(::mincore(mapped, kBytes, pages.data()), 0);
    ::munmap(mapped, kBytes);
    const auto kept = std::ranges::count_if(pages, [](auto page) { return page & 1; });
    std::cout << file.way() << ": " << kept << " of " << pages.size() << " pages\n";
    EXPECT_LT(kept, std::ssize(pages) / 4) << file.way();
  }
}

// New threads ask for more stack than there are addresses.
TEST(DirectFile, WorksWithoutThreads) {
  const TempFolder folder;
  pthread_attr_t before, attributes;
  ASSERT_EQ(::pthread_getattr_default_np(&before), 0);
  ASSERT_EQ(::pthread_attr_init(&attributes), 0);
  ASSERT_EQ(::pthread_attr_setstacksize(&attributes, size_t{1} << 60), 0);
  ASSERT_EQ(::pthread_setattr_default_np(&attributes), 0);
  DirectFile file(folder.path());
  ::pthread_setattr_default_np(&before);
  ::pthread_attr_destroy(&before);
  ::pthread_attr_destroy(&attributes);

  EXPECT_THAT(file.way(), HasSubstr(", no threads"));
  file.extend(9 * kMiB);
  const Memory a(9 * kMiB, 'a'), read(9 * kMiB);
  EXPECT_TRUE(file.done(file.write(0, a.all())));
  file.wait(file.read(0, read.all()));
  EXPECT_TRUE(all_are(read.all(), 'a'));
  const FileSizeLimit limit(kMiB);
  EXPECT_THAT(error_of([&] { file.wait(file.write(0, a.all())); }).problem(),
              HasSubstr("could not be written"));
}

TEST(DirectFile, NeedsAFolder) {
  const TempFolder folder;
  const Error missing = error_of([&] { DirectFile file(folder / "none"); });
  EXPECT_EQ(missing.thing(), (folder / "none").string());
  EXPECT_THAT(missing.remedy(), HasSubstr("Make that folder"));
  test::write_text(folder / "x", "");
  const Error other = error_of([&] { DirectFile file(folder / "x"); });
  EXPECT_THAT(other.problem(), HasSubstr("Not a directory"));
  EXPECT_THAT(other.remedy(), HasSubstr("not a folder"));
}

TEST(DirectFile, NeedsAFolderThatItMayWriteTo) {
  const TempFolder folder;
  fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec);
  const bool is_root = ::geteuid() == 0;
  constexpr uid_t kNobody = 65534;
  ASSERT_EQ(is_root ? ::seteuid(kNobody) : 0, 0);
  const Error error = error_of([&] { DirectFile file(folder.path()); });
  ASSERT_EQ(is_root ? ::seteuid(0) : 0, 0);
  EXPECT_EQ(error.thing(), folder.path().string());
  EXPECT_THAT(error.problem(), HasSubstr("Permission denied"));
  EXPECT_THAT(error.remedy(), HasSubstr("Check who may"));
}

// Where memory is the disk: 4 MiB of it, in a process of its own that may mount it.
TEST(DirectFile, NamesAFullDisk) {
  const TempFolder folder;
  constexpr int kNotMounted = 77;
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
      ::_exit(kNotMounted);
    ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    if (::mount("none", folder.path().c_str(), "tmpfs", 0, "size=4M") != 0)
      ::_exit(kNotMounted);
    DirectFile file(folder.path());
    file.extend(3 * kMiB);
    const Memory a(3 * kMiB, 'a'), read(3 * kMiB);
    const Error error = error_of([&] { file.extend(2 * kMiB); });
    std::cout << file.way() << ": " << error.what() << std::endl;
    file.write(0, a.all());
    file.wait(file.read(0, read.all()));
    const bool right =
        error.problem() ==
            "has 1.0 MiB free, and its working file of 3.0 MiB needs 2.0 MiB more "
            "(No space left on device)" &&
        error.remedy().starts_with("Free space") && file.size() == 3 * kMiB &&
        all_are(read.all(), 'a');
    ::_exit(right ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotMounted)
    GTEST_SKIP() << "this system lets no test mount a disk";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace lowmem

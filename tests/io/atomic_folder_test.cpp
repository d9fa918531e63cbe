#include "lowmem/io/atomic_folder.h"

#include <gtest/gtest.h>

#include "io/temp_folder.h"
#include "lowmem/core/files.h"
#include "lowmem/io/atomic_file.h"
#include "lowmem/io/file_lock.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;
using test::TempFolder;

TEST(AtomicFolder, IsSeenOnlyOnceItIsCommitted) {
  const TempFolder temp;
  const fs::path path = temp.path() / "step";
  AtomicFolder folder(path);
  write_file_atomically(folder.path() / "a", "1");
  EXPECT_FALSE(fs::exists(path));
  EXPECT_TRUE(is_partial(folder.path()));
  folder.commit();
  EXPECT_EQ(read_file(path / "a"), "1");
}

TEST(AtomicFolder, LeavesNothingWithoutACommit) {
  const TempFolder temp;
  {
    AtomicFolder folder(temp.path() / "step");
    write_file_atomically(folder.path() / "a", "1");
  }
  EXPECT_TRUE(fs::is_empty(temp.path()));
}

TEST(AtomicFolder, TakesThePlaceOfAnOlderOneAndOfWhatAKillLeft) {
  const TempFolder temp;
  const fs::path path = temp.path() / "step";
  fs::create_directories(path);
  write_file_atomically(path / "old", "1");
  fs::create_directories(temp.path() / ".step.partial");
  write_file_atomically(temp.path() / ".step.partial/half", "1");
  AtomicFolder folder(path);
  write_file_atomically(folder.path() / "new", "2");
  folder.commit();
  EXPECT_FALSE(fs::exists(path / "old"));
  EXPECT_FALSE(fs::exists(path / "half"));
  EXPECT_EQ(read_file(path / "new"), "2");
  remove_folder(path);
  EXPECT_TRUE(fs::is_empty(temp.path()));
}

TEST(FileLock, IsHeldByOne) {
  const TempFolder temp;
  const fs::path path = temp.path() / ".lock";
  EXPECT_FALSE(FileLock::is_held(path));
  {
    const auto first = FileLock::take(path);
    ASSERT_TRUE(first);
    EXPECT_TRUE(FileLock::is_held(path));
    EXPECT_FALSE(FileLock::take(path));
  }
  EXPECT_FALSE(FileLock::is_held(path));
  EXPECT_TRUE(FileLock::take(path));
}

TEST(Checksum, IsXxh3OfTheBytesHoweverTheyAreCut) {
  // From the reference program: `printf hello | xxhsum -H3`.
  const std::string text = "hello";
  Checksum whole, parts;
  whole.add(std::as_bytes(std::span(text)));
  for (const char& c : text) parts.add(std::as_bytes(std::span(&c, 1)));
  EXPECT_EQ(whole.value(), parts.value());
  EXPECT_EQ(hexadecimal(whole.value()), "9555e8555c62dcfd");
  const TempFolder temp;
  write_file_atomically(temp.path() / "a", text);
  EXPECT_EQ(file_checksum(temp.path() / "a"), whole.value());
}

}  // namespace
}  // namespace lowmem

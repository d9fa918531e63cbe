#include "lowmem/io/atomic_file.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "io/error_of.h"
#include "io/file_size_limit.h"
#include "io/temp_folder.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;
using test::count_files;
using test::error_of;
using test::FileSizeLimit;
using test::read_text;
using test::TempFolder;
using test::write_text;
using ::testing::HasSubstr;

TEST(AtomicFile, AppearsWithCommitAlone) {
  const TempFolder folder;
  AtomicFile file(folder / "x");
  file.write("one ");
  file.write("two");
  EXPECT_EQ(file.bytes_written(), 7);
  EXPECT_FALSE(fs::exists(folder / "x"));
  file.commit();
  EXPECT_EQ(read_text(folder / "x"), "one two");
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(AtomicFile, ReplacesTheOldFileWithCommitAlone) {
  const TempFolder folder;
  write_text(folder / "x", "old and longer");
  AtomicFile file(folder / "x");
  file.write("new");
  EXPECT_EQ(read_text(folder / "x"), "old and longer");
  file.commit();
  EXPECT_EQ(read_text(folder / "x"), "new");
}

TEST(AtomicFile, WithoutCommitLeavesTheFolderAsItWas) {
  const TempFolder folder;
  write_text(folder / "x", "old");
  {
    AtomicFile file(folder / "x");
    file.write("new");
    EXPECT_EQ(count_files(folder.path()), 2u);
  }
  EXPECT_EQ(read_text(folder / "x"), "old");
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(AtomicFile, HasThePermissionsOfAnOrdinaryFile) {
  const TempFolder folder;
  write_text(folder / "ordinary", "");
  write_file_atomically(folder / "x", "text");
  EXPECT_EQ(fs::status(folder / "x").permissions(),
            fs::status(folder / "ordinary").permissions());
}

TEST(AtomicFile, ReservingDoesNotChangeTheSize) {
  const TempFolder folder;
  AtomicFile file(folder / "x");
  file.reserve(1 << 20);
  file.write("text");
  file.commit();
  EXPECT_EQ(fs::file_size(folder / "x"), 4u);
}

// A killed process leaves such a file.
TEST(AtomicFile, OverwritesALeftover) {
  const TempFolder folder;
  write_text(folder / ".x.partial", "left by a process that was killed");
  write_file_atomically(folder / "x", "text");
  EXPECT_EQ(read_text(folder / "x"), "text");
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(AtomicFile, RefusesASecondWriterOfTheSameName) {
  const TempFolder folder;
  AtomicFile first(folder / "x");
  first.write("first");
  const Error error = error_of([&] { AtomicFile second(folder / "x"); });
  EXPECT_EQ(error.thing(), (folder / "x").string());
  EXPECT_THAT(error.problem(), HasSubstr("being written by another process"));
  first.commit();
  write_file_atomically(folder / "x", "second");
  EXPECT_EQ(read_text(folder / "x"), "second");
}

TEST(AtomicFile, ReplacesASymbolicLinkAndNotItsTarget) {
  const TempFolder folder;
  write_text(folder / "target", "old");
  fs::create_symlink("target", folder / "x");
  write_file_atomically(folder / "x", "new");
  EXPECT_EQ(read_text(folder / "target"), "old");
  EXPECT_EQ(read_text(folder / "x"), "new");
}

TEST(AtomicFile, AFullDiskLeavesTheOldFileAndNoPartOfTheNew) {
  const TempFolder folder;
  write_text(folder / "x", "old");
  Error error("", "", "");
  {
    const FileSizeLimit limit(100'000);
    error = error_of([&] {
      AtomicFile file(folder / "x");
      const std::string text(60'000, 'n');
      file.write(text);
      file.write(text);
      file.commit();
    });
  }
  EXPECT_EQ(error.thing(), (folder / "x").string());
  EXPECT_THAT(error.problem(), HasSubstr("cannot be written (File too large)"));
  EXPECT_THAT(error.remedy(), HasSubstr("ulimit -f"));
  EXPECT_EQ(read_text(folder / "x"), "old");
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(AtomicFile, ReservingMoreThanTheDiskHasIsRefusedAtOnce) {
  const TempFolder folder;
  const Error error = error_of([&] {
    AtomicFile file(folder / "x");
    file.reserve(int64_t{1} << 46);  // 64 TiB
  });
  if (error.problem() == "was thrown") GTEST_SKIP() << "this file system cannot reserve";
  EXPECT_EQ(error.thing(), (folder / "x").string());
  EXPECT_THAT(error.problem(), HasSubstr("cannot be written"));
  EXPECT_EQ(count_files(folder.path()), 0u);
}

TEST(AtomicFile, NamesAFolderThatDoesNotExist) {
  const TempFolder folder;
  const Error error = error_of([&] { AtomicFile file(folder / "none/x"); });
  EXPECT_EQ(error.thing(), (folder / "none/x").string());
  EXPECT_THAT(error.problem(), HasSubstr("No such file or directory"));
  EXPECT_THAT(error.remedy(), HasSubstr("folder must exist"));
}

TEST(AtomicFile, RefusesToReplaceAFolder) {
  const TempFolder folder;
  fs::create_directory(folder / "x");
  EXPECT_THAT(error_of([&] { AtomicFile file(folder / "x"); }).problem(),
              HasSubstr("is a folder"));
  EXPECT_THAT(error_of([&] { AtomicFile file(folder / "x/"); }).problem(),
              HasSubstr("is a folder"));
}

TEST(AtomicFile, TakesANameWithoutAFolder) {
  const TempFolder folder;
  const fs::path old = fs::current_path();
  fs::current_path(folder.path());
  write_file_atomically("x", "text");
  fs::current_path(old);
  EXPECT_EQ(read_text(folder / "x"), "text");
}

}  // namespace
}  // namespace lowmem

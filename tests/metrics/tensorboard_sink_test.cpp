#include <gmock/gmock.h>
#include <sys/resource.h>

#include <csignal>
#include <limits>

#include "io/temp_folder.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/metrics/sinks.h"

namespace lowmem::metrics {
namespace {

namespace fs = std::filesystem;
using test::TempFolder;
using testing::HasSubstr, testing::Not, testing::StartsWith;

StepRecord step(int64_t number) {
  StepRecord record;
  record.step = number;
  record.loss = 2.5;
  return record;
}

std::string only_file(const fs::path& folder) {
  const auto files = event_files(folder);
  EXPECT_EQ(files.size(), 1u);
  return read_file(folder / files.begin()->first);
}

TEST(TensorBoardSink, HasTheTagsOfWhatARecordHolds) {
  const TempFolder folder;
  const auto sink = tensorboard_sink(folder.path());
  sink->step(step(1));
  sink->evaluation({.step = 1,
                    .epoch = 1,
                    .accuracy = {},
                    .perplexity = PerplexityRecord{7.5, 2.0, 100},
                    .seconds = 1});
  const std::string bytes = only_file(folder.path());
  for (const char* tag : {"Train/loss", "Train/lr", "Train/epoch", "Train/memoryGB",
                          "Train/tokens_per_second", "val/perplexity", "val/loss"})
    EXPECT_THAT(bytes, HasSubstr(tag));
  for (const char* tag : {"Train/grad_norm", "Train/rounding_lost", "val/acc"})
    EXPECT_THAT(bytes, Not(HasSubstr(tag)));
}

TEST(TensorBoardSink, LeavesOutWhatIsNoNumber) {
  const TempFolder folder;
  const auto sink = tensorboard_sink(folder.path());
  StepRecord skipped = step(1);
  skipped.loss = std::numeric_limits<double>::quiet_NaN();
  skipped.grad_norm = std::numeric_limits<double>::infinity();
  sink->step(skipped);
  EXPECT_THAT(only_file(folder.path()), HasSubstr("Train/lr"));
  EXPECT_THAT(only_file(folder.path()), Not(HasSubstr("Train/loss")));
  EXPECT_THAT(only_file(folder.path()), Not(HasSubstr("Train/grad_norm")));
}

TEST(TensorBoardSink, EachRecordIsThereBeforeTheNextIsAskedFor) {
  const TempFolder folder;
  const auto sink = tensorboard_sink(folder.path());
  size_t before = only_file(folder.path()).size();
  for (int64_t number = 1; number <= 3; ++number) {
    sink->step(step(number));
    const size_t now = only_file(folder.path()).size();
    EXPECT_GT(now, before);
    before = now;
  }
}

TEST(TensorBoardSink, NamesSortInTheOrderOfTheirMaking) {
  const TempFolder folder;
  std::vector<std::string> in_order;
  for (int i = 0; i < 5; ++i) {  // within a second
    tensorboard_sink(folder.path());
    const auto files = event_files(folder.path());
    ASSERT_EQ(files.size(), in_order.size() + 1);
    in_order.push_back(files.rbegin()->first);
    EXPECT_THAT(in_order.back(), StartsWith("events.out.tfevents."));
  }
  EXPECT_TRUE(std::is_sorted(in_order.begin(), in_order.end()));
}

TEST(EventFiles, AreMadeAgainWhatTheyWere) {
  const TempFolder folder;
  const auto first = tensorboard_sink(folder.path());
  first->step(step(1));
  const auto at_checkpoint = event_files(folder.path());
  const std::string bytes = only_file(folder.path());
  first->step(step(2));
  tensorboard_sink(folder.path());
  fs::path other = folder.path() / "metrics.jsonl";
  std::ofstream(other) << "{}\n";
  ASSERT_EQ(event_files(folder.path()).size(), 2u);

  restore_event_files(folder.path(), at_checkpoint);
  EXPECT_EQ(event_files(folder.path()), at_checkpoint);
  EXPECT_EQ(only_file(folder.path()), bytes);
  EXPECT_TRUE(fs::exists(other));
}

// As after a power failure, where the file is not what it was when it was synced.
TEST(EventFiles, ThatAreShorterThanTheyWereStay) {
  const TempFolder folder;
  tensorboard_sink(folder.path())->step(step(1));
  auto lengths = event_files(folder.path());
  const auto before = lengths;
  lengths.begin()->second += 100;
  lengths["events.out.tfevents.1.gone"] = 10;
  restore_event_files(folder.path(), lengths);
  EXPECT_EQ(event_files(folder.path()), before);
}

TEST(TensorBoardSink, NamesTheFileThatCannotBeMade) {
  try {
    tensorboard_sink("/nowhere/at/all");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("/nowhere/at/all/events.out.tfevents."));
  }
}

// A file size limit stands for a full disk.
TEST(TensorBoardSink, NamesTheFileThatTheDiskRefuses) {
  const TempFolder folder;
  const auto sink = tensorboard_sink(folder.path());
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{100, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string said;
  try {
    for (int64_t number = 1; number <= 3; ++number) sink->step(step(number));
  } catch (const Error& error) {
    said = error.what();
  }
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(said, HasSubstr("events.out.tfevents."));
  EXPECT_THAT(said, HasSubstr("File too large"));
}

}  // namespace
}  // namespace lowmem::metrics

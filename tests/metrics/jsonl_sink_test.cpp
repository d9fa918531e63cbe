#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "io/temp_folder.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/metrics/jsonl.h"
#include "lowmem/metrics/sinks.h"

namespace lowmem::metrics {
namespace {

using test::TempFolder;

std::vector<int64_t> steps_in(const std::filesystem::path& file) {
  std::istringstream in(read_file(file));
  std::vector<int64_t> steps;
  for (std::string line; std::getline(in, line);)
    steps.push_back(nlohmann::json::parse(line).at("step").get<int64_t>());
  return steps;
}

// Returns the length after each.
std::vector<uintmax_t> write_steps(const std::filesystem::path& file, uintmax_t keep,
                                   int64_t first, int64_t last) {
  const auto sink = jsonl_sink(file, keep);
  std::vector<uintmax_t> lengths;
  StepRecord record;
  for (record.step = first; record.step <= last; ++record.step) {
    sink->step(record);
    lengths.push_back(std::filesystem::file_size(file));
  }
  return lengths;
}

TEST(JsonlSink, GoesOnAfterTheGivenLength) {
  const TempFolder folder;
  const auto file = folder.path() / "metrics.jsonl";
  const auto lengths = write_steps(file, 0, 1, 5);
  write_steps(file, lengths[2], 4, 4);
  EXPECT_EQ(steps_in(file), (std::vector<int64_t>{1, 2, 3, 4}));
  write_steps(file, 0, 1, 2);
  EXPECT_EQ(steps_in(file), (std::vector<int64_t>{1, 2}));
}

TEST(JsonlSink, GoesOnAtTheEndOfAFileThatWasShortened) {
  const TempFolder folder;
  const auto file = folder.path() / "metrics.jsonl";
  const auto lengths = write_steps(file, 0, 1, 3);
  std::filesystem::resize_file(file, lengths[1]);
  write_steps(file, lengths[2], 4, 4);
  EXPECT_EQ(steps_in(file), (std::vector<int64_t>{1, 2, 4}));
}

TEST(JsonlSink, EachLineIsThereBeforeTheNextIsAskedFor) {
  const TempFolder folder;
  const auto file = folder.path() / "metrics.jsonl";
  const auto sink = jsonl_sink(file);
  StepRecord record;
  for (record.step = 1; record.step <= 3; ++record.step) {
    sink->step(record);
    EXPECT_EQ(steps_in(file).back(), record.step);
  }
}

TEST(JsonLines, NameThePathThatCannotBeWritten) {
  try {
    JsonLines lines("/nowhere/at/all.jsonl");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("/nowhere/at/all.jsonl"), std::string::npos);
  }
}

}  // namespace
}  // namespace lowmem::metrics

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

void write_steps(const std::filesystem::path& file, int64_t after, int64_t last) {
  const auto sink = jsonl_sink(file, after);
  for (int64_t step = after + 1; step <= last; ++step) {
    StepRecord record;
    record.step = step;
    sink->step(record);
  }
}

TEST(JsonlSink, GoesOnAfterTheGivenStep) {
  const TempFolder folder;
  const auto file = folder.path() / "metrics.jsonl";
  write_steps(file, 0, 5);
  write_steps(file, 3, 4);
  EXPECT_EQ(steps_in(file), (std::vector<int64_t>{1, 2, 3, 4}));
  write_steps(file, 0, 2);
  EXPECT_EQ(steps_in(file), (std::vector<int64_t>{1, 2}));
}

TEST(JsonlSink, RemovesALineThatWasCutShort) {
  const TempFolder folder;
  const auto file = folder.path() / "metrics.jsonl";
  write_steps(file, 0, 3);
  const auto size = std::filesystem::file_size(file);
  std::filesystem::resize_file(file, size - 10);
  write_steps(file, 3, 4);
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

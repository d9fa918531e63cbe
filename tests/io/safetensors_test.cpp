#include "lowmem/io/safetensors.h"

#include <gmock/gmock.h>

#include <cstring>

#include "io/error_of.h"
#include "io/raw_safetensors.h"
#include "io/temp_folder.h"
#include "support/shared.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::fixture;
using test::raw_safetensors;
using test::TempFolder;
using test::write_text;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<float> read_floats(const SafetensorsFile& file, std::string_view name) {
  const TensorInfo* tensor = file.find(name);
  if (tensor == nullptr) throw std::runtime_error("no tensor " + std::string(name));
  std::vector<float> values(static_cast<size_t>(tensor->count()));
  file.read_as(DType::kF32, *tensor, std::as_writable_bytes(std::span(values)));
  return values;
}

// Written by the Python library: scripts/references/safetensors_files.py.
class PythonFile : public ::testing::Test {
 protected:
  const SafetensorsFile file_{fixture("safetensors/mixed.safetensors")};
};

TEST_F(PythonFile, HasEveryTensorWithItsTypeAndShape) {
  std::map<std::string, std::string> found;
  for (const TensorInfo& tensor : file_.tensors())
    found[tensor.name] = std::string(dtype_name(tensor.dtype)) + " " +
                         ::testing::PrintToString(tensor.shape);
  const std::map<std::string, std::string> want = {
      {"f32", "F32 { 2, 3 }"}, {"f16", "F16 { 5 }"},
      {"bf16", "BF16 { 4 }"},  {"f64", "F64 { 2 }"},
      {"i64", "I64 { 3 }"},    {"empty", "F32 { 0, 3 }"},
      {"scalar", "F32 {}"},    {"имя \"x\" \\ \n", "F32 { 1 }"}};
  EXPECT_EQ(found, want);
  EXPECT_THAT(file_.metadata(), ElementsAre(std::pair("note", "написано")));
}

TEST_F(PythonFile, GivesTheValuesThatWereWritten) {
  EXPECT_THAT(read_floats(file_, "f32"), ElementsAre(-1, -0.5, 0, 0.5, 1, 1.5));
  EXPECT_THAT(read_floats(file_, "f16"), ElementsAre(-1, -0.5, 0, 0.5, 1));
  EXPECT_THAT(read_floats(file_, "bf16"), ElementsAre(-1, -0.5, 0, 0.5));
  EXPECT_THAT(read_floats(file_, "f64"), ElementsAre(-1, -0.5));
  EXPECT_THAT(read_floats(file_, "empty"), ElementsAre());
  EXPECT_THAT(read_floats(file_, "scalar"), ElementsAre(2.5));
  std::vector<int64_t> integers(3);
  file_.read(*file_.find("i64"), 0, std::as_writable_bytes(std::span(integers)));
  EXPECT_THAT(integers, ElementsAre(-1, 0, int64_t{1} << 40));
}

TEST_F(PythonFile, ReadsSlices) {
  std::vector<float> values(2);
  file_.read(*file_.find("f32"), 12, std::as_writable_bytes(std::span(values)));
  EXPECT_THAT(values, ElementsAre(0.5, 1));
}

TEST_F(PythonFile, FindsNothingUnderOtherNames) {
  for (const char* name : {"", "f3", "f322", "zzz", "__metadata__"})
    EXPECT_EQ(file_.find(name), nullptr) << name;
}

TEST_F(PythonFile, IntegersAreNotWeights) {
  const Error error = error_of([&] { read_floats(file_, "i64"); });
  EXPECT_THAT(error.thing(), HasSubstr("mixed.safetensors tensor \"i64\""));
  EXPECT_THAT(error.problem(), HasSubstr("holds I64 elements"));
}

TEST(Safetensors, ListsTensorsInTheOrderOfTheirData) {
  const TempFolder folder;
  write_text(folder / "x", raw_safetensors(R"({
      "b": {"data_offsets": [1, 3], "shape": [2], "dtype": "U8"},
      "a": {"dtype": "I8", "shape": [1, 1], "data_offsets": [0, 1]},
      "none": {"dtype": "F64", "shape": [7, 0], "data_offsets": [1, 1]}})",
                                           "xyz"));
  const SafetensorsFile file(folder / "x");
  std::vector<std::string> names;
  for (const TensorInfo& tensor : file.tensors()) names.push_back(tensor.name);
  EXPECT_THAT(names, ElementsAre("a", "none", "b"));
  std::vector<char> data(2);
  file.read(*file.find("b"), 0, std::as_writable_bytes(std::span(data)));
  EXPECT_THAT(data, ElementsAre('y', 'z'));
}

TEST(Safetensors, AFileMayHoldNothing) {
  const TempFolder folder;
  write_text(folder / "x", raw_safetensors("{}", ""));
  EXPECT_TRUE(SafetensorsFile(folder / "x").tensors().empty());
  write_text(folder / "x", raw_safetensors("{\"__metadata__\":{}}   ", ""));
  EXPECT_TRUE(SafetensorsFile(folder / "x").tensors().empty());
}

// 600,001 elements are more than two slices; the data begins at an odd address.
TEST(Safetensors, ConvertsALargeTensorSliceBySlice) {
  const TempFolder folder;
  constexpr int64_t kCount = 1'200'001;
  std::string data(static_cast<size_t>(1 + 2 * kCount), '\0');
  for (int64_t i = 0; i < kCount; ++i) {
    const auto bits = static_cast<uint16_t>(i % 0x7F80);
    std::memcpy(data.data() + 1 + 2 * i, &bits, 2);
  }
  write_text(folder / "x", raw_safetensors(
                               R"({"pad":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
                     "w":{"dtype":"BF16","shape":[1200001],"data_offsets":[1,2400003]}})",
                               data));
  const auto values = read_floats(SafetensorsFile(folder / "x"), "w");
  for (int64_t i = 0; i < kCount; ++i) {
    uint32_t bits = 0;
    std::memcpy(&bits, &values[static_cast<size_t>(i)], 4);
    ASSERT_EQ(bits, static_cast<uint32_t>(i % 0x7F80) << 16) << i;
  }
}

TEST(Safetensors, AFileCutShortWhileOpenIsAnError) {
  const TempFolder folder;
  write_text(folder / "x",
             raw_safetensors(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})",
                             std::string(16, 'w')));
  const SafetensorsFile file(folder / "x");
  fs::resize_file(folder / "x", fs::file_size(folder / "x") - 1);
  const Error error = error_of([&] { read_floats(file, "w"); });
  EXPECT_EQ(error.thing(), (folder / "x").string());
  EXPECT_THAT(error.problem(), HasSubstr("while being read"));
}

TEST(Safetensors, StaysOpenAfterAMove) {
  SafetensorsFile first(fixture("safetensors/mixed.safetensors"));
  const TensorInfo* before = first.find("f32");
  const SafetensorsFile second = std::move(first);
  EXPECT_EQ(second.find("f32"), before);
  EXPECT_THAT(read_floats(second, "scalar"), ElementsAre(2.5));
}

}  // namespace
}  // namespace lowmem

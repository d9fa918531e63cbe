#include "lowmem/io/weights_writer.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "io/error_of.h"
#include "io/temp_folder.h"
#include "lowmem/core/files.h"
#include "lowmem/io/weights_folder.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;
using test::count_files;
using test::error_of;
using test::read_text;
using test::TempFolder;
using test::write_text;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Tensors "a", "b", ... of these many bytes, each filled with its letter.
std::vector<TensorSpec> letters(const std::vector<int64_t>& sizes) {
  std::vector<TensorSpec> specs;
  for (int64_t size : sizes)
    specs.push_back(
        {std::string(1, static_cast<char>('a' + specs.size())), DType::kU8, {size}});
  return specs;
}

void write_all(WeightsWriter& writer, const std::vector<TensorSpec>& specs) {
  for (const TensorSpec& spec : specs) {
    const std::vector<std::byte> bytes(static_cast<size_t>(spec.bytes()),
                                       std::byte(spec.name[0]));
    writer.write(spec.name, bytes);
  }
}

void write_folder(const TempFolder& folder, const std::vector<TensorSpec>& specs,
                  int64_t max_shard_bytes) {
  WeightsWriter writer(folder.path(), specs, max_shard_bytes);
  write_all(writer, specs);
  writer.finish();
}

// "model-00001-of-00002.safetensors: a b", a line each.
std::vector<std::string> layout(const TempFolder& folder) {
  const WeightsFolder weights(folder.path());
  std::map<std::string, std::string> files;
  for (const auto& [file, tensor] : weights.tensors()) {
    std::string data(static_cast<size_t>(tensor->bytes()), '\0');
    file->read(*tensor, 0, std::as_writable_bytes(std::span(data.data(), data.size())));
    EXPECT_EQ(data, std::string(data.size(), tensor->name[0]));
    files[file->path().filename()] += " " + tensor->name;
  }
  std::vector<std::string> lines;
  for (const auto& [name, tensors] : files) lines.push_back(name + ":" + tensors);
  return lines;
}

TEST(WeightsWriter, WritesOneFileUpToTheLimit) {
  const TempFolder folder;
  write_folder(folder, letters({4, 0, 6}), 10);
  EXPECT_THAT(layout(folder), ElementsAre("model.safetensors: a b c"));
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(WeightsWriter, FillsEachShardInOrder) {
  const TempFolder folder;
  write_folder(folder, letters({4, 6, 1, 9, 5, 0}), 10);
  EXPECT_THAT(layout(folder), ElementsAre("model-00001-of-00003.safetensors: a b",
                                          "model-00002-of-00003.safetensors: c d",
                                          "model-00003-of-00003.safetensors: e f"));
  EXPECT_EQ(count_files(folder.path()), 4u);
}

TEST(WeightsWriter, ATensorAboveTheLimitHasAShardToItself) {
  const TempFolder folder;
  write_folder(folder, letters({1, 25, 1, 2}), 10);
  EXPECT_THAT(layout(folder), ElementsAre("model-00001-of-00003.safetensors: a",
                                          "model-00002-of-00003.safetensors: b",
                                          "model-00003-of-00003.safetensors: c d"));
}

TEST(WeightsWriter, NoShardIsEmptyWhereTheFirstTensorIsAboveTheLimit) {
  const TempFolder folder;
  write_folder(folder, letters({25, 26}), 10);
  EXPECT_THAT(layout(folder), ElementsAre("model-00001-of-00002.safetensors: a",
                                          "model-00002-of-00002.safetensors: b"));
}

TEST(WeightsWriter, WritesTheIndexThatHuggingFaceReads) {
  const TempFolder folder;
  const auto specs = letters({6, 7});
  WeightsWriter writer(folder.path(), specs, 10);
  EXPECT_THAT(writer.file_names(),
              ElementsAre("model-00001-of-00002.safetensors",
                          "model-00002-of-00002.safetensors", kWeightsIndexFile));
  write_all(writer, specs);
  writer.finish();
  EXPECT_EQ(read_json(folder / kWeightsIndexFile), nlohmann::json::parse(R"({
      "metadata": {"total_size": 13},
      "weight_map": {"a": "model-00001-of-00002.safetensors",
                     "b": "model-00002-of-00002.safetensors"}})"));
  EXPECT_EQ(SafetensorsFile(folder / "model-00001-of-00002.safetensors").metadata(),
            (std::map<std::string, std::string>{{"format", "pt"}}));
}

TEST(WeightsWriter, NothingChangesBeforeTheEnd) {
  const TempFolder folder;
  write_folder(folder, letters({3}), 10);
  const std::string old = read_text(folder / kSingleWeightsFile);
  {
    const auto specs = letters({6, 7});
    WeightsWriter writer(folder.path(), specs, 10);
    write_all(writer, specs);
    EXPECT_THAT(layout(folder), ElementsAre("model.safetensors: a"));
  }
  EXPECT_EQ(read_text(folder / kSingleWeightsFile), old);
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(WeightsWriter, RemovesTheWeightsItSupersedesAndNothingElse) {
  const TempFolder folder;
  write_text(folder / "model-card.safetensors", "not ours");
  write_text(folder / "config.json", "{}");
  write_folder(folder, letters({6, 7, 8}), 10);
  EXPECT_EQ(count_files(folder.path()), 6u);
  write_folder(folder, letters({6, 7}), 10);
  EXPECT_THAT(layout(folder), ElementsAre("model-00001-of-00002.safetensors: a",
                                          "model-00002-of-00002.safetensors: b"));
  EXPECT_EQ(count_files(folder.path()), 5u);
  write_folder(folder, letters({6}), 10);
  EXPECT_THAT(layout(folder), ElementsAre("model.safetensors: a"));
  EXPECT_EQ(count_files(folder.path()), 3u);
  write_folder(folder, letters({6, 7}), 10);
  EXPECT_THAT(layout(folder), ElementsAre("model-00001-of-00002.safetensors: a",
                                          "model-00002-of-00002.safetensors: b"));
  EXPECT_EQ(count_files(folder.path()), 5u);
}

TEST(WeightsWriter, RefusesToFinishWhileBytesLack) {
  const TempFolder folder;
  const auto specs = letters({6, 7});
  WeightsWriter writer(folder.path(), specs, 10);
  EXPECT_THROW(writer.write("b", std::vector<std::byte>(7)), std::logic_error);
  writer.write("a", std::vector<std::byte>(6));
  EXPECT_THROW(writer.finish(), std::logic_error);
  EXPECT_THROW(writer.write("a", std::vector<std::byte>(1)), std::logic_error);
  writer.write("b", std::vector<std::byte>(3));
  writer.write("b", std::vector<std::byte>(4));
  writer.finish();
  EXPECT_EQ(WeightsFolder(folder.path()).tensors().size(), 2u);
}

TEST(WeightsWriter, NamesAFolderThatDoesNotExist) {
  const TempFolder folder;
  const Error error = error_of([&] { WeightsWriter(folder / "none", letters({1})); });
  EXPECT_EQ(error.thing(), (folder / "none" / kSingleWeightsFile).string());
  EXPECT_THAT(error.problem(), HasSubstr("No such file or directory"));
}

}  // namespace
}  // namespace lowmem

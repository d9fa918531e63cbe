#include "lowmem/io/weights_folder.h"

#include <gmock/gmock.h>

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

// A file of one-byte tensors.
void write_shard(const fs::path& path, const std::vector<std::string>& names) {
  std::string header = "{", data;
  for (const std::string& name : names) {
    header += (data.empty() ? "\"" : ",\"") + name +
              R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" +
              std::to_string(data.size()) + "," + std::to_string(data.size() + 1) + "]}";
    data += name[0];
  }
  write_text(path, raw_safetensors(header + "}", data));
}

void write_index(const TempFolder& folder, const std::string& weight_map) {
  write_text(folder / kWeightsIndexFile, "{\"weight_map\":" + weight_map + "}");
}

std::vector<std::string> names_of(const WeightsFolder& weights) {
  std::vector<std::string> names;
  for (const auto& [file, tensor] : weights.tensors()) names.push_back(tensor->name);
  return names;
}

// Written by huggingface_hub: scripts/references/safetensors_files.py.
TEST(WeightsFolder, ReadsAShardedFolderMadeByPython) {
  const WeightsFolder weights(fixture("safetensors/sharded"));
  ASSERT_EQ(weights.tensors().size(), 5u);
  EXPECT_TRUE(weights.unlisted().empty());
  for (int i = 0; i < 5; ++i) {
    const auto at = weights.find("layer." + std::to_string(i) + ".weight");
    ASSERT_TRUE(at) << i;
    EXPECT_EQ(at.file->path().filename(),
              "model-0000" + std::to_string(i / 2 + 1) + "-of-00003.safetensors");
    std::vector<float> values(10);
    at.file->read_as(DType::kF32, *at.tensor, std::as_writable_bytes(std::span(values)));
    for (int k = 0; k < 10; ++k)
      EXPECT_EQ(values[static_cast<size_t>(k)], static_cast<float>(k - 2) * 0.5f + i);
  }
  EXPECT_FALSE(weights.find("layer.5.weight"));
}

TEST(WeightsFolder, ReadsASingleFileInTheOrderOfItsData) {
  const TempFolder folder;
  write_shard(folder / kSingleWeightsFile, {"b", "a"});
  EXPECT_THAT(names_of(WeightsFolder(folder.path())), ElementsAre("b", "a"));
}

TEST(WeightsFolder, PrefersTheSingleFileToAnIndex) {
  const TempFolder folder;
  write_shard(folder / kSingleWeightsFile, {"a"});
  write_index(folder, R"({"b":"none.safetensors"})");
  EXPECT_THAT(names_of(WeightsFolder(folder.path())), ElementsAre("a"));
}

TEST(WeightsFolder, GoesThroughShardsOneAfterTheOther) {
  const TempFolder folder;
  write_shard(folder / "1.safetensors", {"d", "a"});
  write_shard(folder / "2.safetensors", {"c", "b"});
  write_index(folder, R"({"a":"1.safetensors","b":"2.safetensors",
                          "c":"2.safetensors","d":"1.safetensors"})");
  EXPECT_THAT(names_of(WeightsFolder(folder.path())), ElementsAre("d", "a", "c", "b"));
}

TEST(WeightsFolder, FollowsLinksAsInACacheOfTheHub) {
  const TempFolder folder;
  write_shard(folder / "blob", {"a"});
  fs::create_symlink("blob", folder / kSingleWeightsFile);
  EXPECT_THAT(names_of(WeightsFolder(folder.path())), ElementsAre("a"));
}

TEST(WeightsFolder, NotesTensorsThatTheIndexDoesNotPlaceInTheirShard) {
  const TempFolder folder;
  write_shard(folder / "1.safetensors", {"a", "b", "extra"});
  write_shard(folder / "2.safetensors", {"b"});
  write_index(folder, R"({"a":"1.safetensors","b":"2.safetensors"})");
  const WeightsFolder weights(folder.path());
  EXPECT_THAT(weights.unlisted(), ElementsAre("b", "extra"));
  EXPECT_FALSE(weights.find("extra"));
  EXPECT_EQ(weights.find("b").file->path().filename(), "2.safetensors");
}

TEST(WeightsFolder, PointersSurviveAMove) {
  WeightsFolder first(fixture("safetensors/sharded"));
  const auto before = first.find("layer.3.weight");
  const WeightsFolder second = std::move(first);
  EXPECT_EQ(second.find("layer.3.weight").tensor, before.tensor);
  EXPECT_EQ(second.find("layer.3.weight").file, before.file);
  std::vector<float> values(10);
  before.file->read_as(DType::kF32, *before.tensor,
                       std::as_writable_bytes(std::span(values)));
  EXPECT_EQ(values[0], 2);
}

TEST(WeightsFolder, NamesAShardThatIsMissing) {
  const TempFolder folder;
  write_shard(folder / "1.safetensors", {"a"});
  write_index(folder, R"({"a":"1.safetensors","b":"2.safetensors"})");
  const Error error = error_of([&] { WeightsFolder{folder.path()}; });
  EXPECT_EQ(error.thing(), (folder / kWeightsIndexFile).string());
  EXPECT_THAT(error.problem(),
              HasSubstr("\"2.safetensors\", which is not in the folder"));
}

TEST(WeightsFolder, NamesATensorThatIsNotInItsShard) {
  const TempFolder folder;
  write_shard(folder / "1.safetensors", {"a"});
  write_index(folder, R"({"a":"1.safetensors","b":"1.safetensors"})");
  const Error error = error_of([&] { WeightsFolder{folder.path()}; });
  EXPECT_THAT(error.thing(), HasSubstr("index.json tensor \"b\""));
  EXPECT_THAT(error.problem(), HasSubstr("\"1.safetensors\", which has no such tensor"));
}

TEST(WeightsFolder, RefusesFilesOutsideTheFolder) {
  const TempFolder folder;
  fs::create_directory(folder / "in");
  write_shard(folder / "a.safetensors", {"a"});
  for (const std::string name : {"../a.safetensors", "/a.safetensors", "in/a.safetensors",
                                 "in\\\\a", "..", ".", "", "a\\u0000b"}) {
    write_index(folder, "{\"a\":\"" + name + "\"}");
    const Error error = error_of([&] { WeightsFolder{folder.path()}; });
    EXPECT_THAT(error.thing(), HasSubstr("tensor \"a\"")) << name;
    EXPECT_THAT(error.problem(), HasSubstr("not a file of this folder")) << name;
  }
}

TEST(WeightsFolder, RefusesAnIndexOfAnotherForm) {
  const TempFolder folder;
  for (const char* text :
       {"[]", "{}", "7", R"({"weight_map":[]})", R"({"weight_map":{}})"}) {
    write_text(folder / kWeightsIndexFile, text);
    EXPECT_THAT(error_of([&] { WeightsFolder{folder.path()}; }).problem(),
                HasSubstr("has no \"weight_map\""))
        << text;
  }
  write_index(folder, R"({"a":1})");
  EXPECT_THAT(error_of([&] { WeightsFolder{folder.path()}; }).problem(),
              HasSubstr("is not given the name of a file"));
  write_text(folder / kWeightsIndexFile, "{");
  EXPECT_THAT(error_of([&] { WeightsFolder{folder.path()}; }).problem(),
              HasSubstr("not valid JSON"));
}

TEST(WeightsFolder, SaysWhatAFolderWithoutWeightsHolds) {
  const TempFolder folder;
  EXPECT_THAT(error_of([&] { WeightsFolder{folder / "none"}; }).problem(),
              HasSubstr("is not a folder"));
  EXPECT_THAT(error_of([&] { WeightsFolder{folder.path()}; }).problem(),
              HasSubstr("has neither model.safetensors nor"));
  write_text(folder / "pytorch_model.bin", "");
  const Error error = error_of([&] { WeightsFolder{folder.path()}; });
  EXPECT_THAT(error.problem(), HasSubstr("pytorch_model.bin"));
  EXPECT_THAT(error.remedy(), HasSubstr("safetensors version"));
}

}  // namespace
}  // namespace lowmem

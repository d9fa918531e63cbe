// Weight files made to hurt: each costs no more than its own size, and nothing outside
// the folder is read.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "io/error_of.h"
#include "io/raw_safetensors.h"
#include "io/temp_folder.h"
#include "lowmem/io/safetensors.h"
#include "lowmem/io/weights_folder.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr size_t kHundredMillion = 100'000'000;

Error error_of_file(const std::string& header, std::string_view data = "") {
  const TempFolder folder;
  write_text(folder / "w.safetensors", raw_safetensors(header, data));
  return error_of([&] { SafetensorsFile file(folder / "w.safetensors"); });
}

Error error_of_index(const std::string& text) {
  const TempFolder folder;
  write_text(folder / kWeightsIndexFile, text);
  return error_of([&] { WeightsFolder weights(folder.path()); });
}

std::string tensor(const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

TEST(HostileSafetensors, AHundredMillionBracketsAreRefusedAtTheFirst) {
  for (const char* opening : {"{", R"({"a":[)", R"({"a":{"shape":[)"}) {
    std::string header = opening;
    header.resize(kHundredMillion, '[');
    EXPECT_THAT(error_of_file(header).problem(),
                testing::AnyOf(HasSubstr("is not valid JSON"), HasSubstr("has a list")));
  }
}

TEST(HostileSafetensors, ShapesBeyondAnyMemoryAreRefusedByTheirSpan) {
  EXPECT_THAT(error_of_file(tensor("[4611686018427387904]", "[0,4]")).problem(),
              HasSubstr("more than 2^63 bytes"));
  EXPECT_THAT(error_of_file(tensor("[1152921504606846976]", "[0,4]")).problem(),
              HasSubstr("a span of 4"));
  EXPECT_THAT(error_of_file(tensor("[4294967296,4294967296]", "[0,0]")).problem(),
              HasSubstr("more than 2^63 bytes"));
  EXPECT_THAT(
      error_of_file(tensor("[1152921504606846976]", "[0,4611686018427387904]"), "data")
          .problem(),
      HasSubstr("is cut short"));
}

TEST(HostileIndex, NestingIsRefusedBeforeItIsParsed) {
  EXPECT_THAT(error_of_index(std::string(1 << 20, '[')).problem(),
              HasSubstr("nested deeper"));
  EXPECT_THAT(error_of_index(R"({"weight_map":)" + std::string(1000, '[') +
                             std::string(1000, ']') + "}")
                  .problem(),
              HasSubstr("nested deeper"));
}

TEST(HostileIndex, IsNoLargerThan64MiB) {
  const TempFolder folder;
  write_text(folder / kWeightsIndexFile, "{");
  std::filesystem::resize_file(folder / kWeightsIndexFile, (64 << 20) + 1);
  EXPECT_THAT(error_of([&] { WeightsFolder weights(folder.path()); }).problem(),
              HasSubstr("more than the 64"));
}

TEST(HostileIndex, NamesNoFileBeyondTheFolder) {
  const TempFolder outside;
  write_text(outside / "w", raw_safetensors(tensor("[1]", "[0,4]"), "data"));
  const TempFolder folder;
  std::filesystem::create_directory(folder / "inside");
  for (const std::string& name :
       {(outside / "w").string(), "../" + outside.path().filename().string() + "/w",
        std::string("inside/../../w"), std::string("."), std::string(".."),
        std::string("a\\w"), std::string("w\0", 2), std::string()}) {
    write_text(folder / kWeightsIndexFile, json{{"weight_map", {{"w", name}}}}.dump());
    const Error error = error_of([&] { WeightsFolder weights(folder.path()); });
    EXPECT_THAT(error.problem(), HasSubstr("not a file of this folder")) << name;
  }
}

// As every file of the Hub's cache does.
TEST(HostileIndex, ALinkThatLeavesTheFolderIsFollowed) {
  const TempFolder outside;
  write_text(outside / "blob", raw_safetensors(tensor("[1]", "[0,4]"), "data"));
  const TempFolder folder;
  std::filesystem::create_symlink(outside / "blob", folder / "part");
  write_text(folder / kWeightsIndexFile, R"({"weight_map":{"w":"part"}})");
  EXPECT_EQ(WeightsFolder(folder.path()).tensors().size(), 1u);
}

TEST(HostileIndex, AShardThatIsAPipeOrALinkToItselfIsRefusedWithoutWaiting) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::filesystem::create_symlink("circle", folder / "circle");
  for (const char* name : {"pipe", "circle"}) {
    write_text(folder / kWeightsIndexFile, json{{"weight_map", {{"w", name}}}}.dump());
    EXPECT_THAT(error_of([&] { WeightsFolder weights(folder.path()); }).what(),
                HasSubstr(name));
  }
}

}  // namespace
}  // namespace lowmem::test

#include "lowmem/core/files.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "io/error_of.h"
#include "io/temp_folder.h"

namespace lowmem {
namespace {

using test::error_of;
using test::TempFolder;
using test::write_text;
using ::testing::HasSubstr;

TEST(Files, ReadsEveryByte) {
  const TempFolder folder;
  const std::string text("a\0\r\n\xff", 5);
  write_text(folder / "x", text);
  EXPECT_EQ(read_file(folder / "x"), text);
  write_text(folder / "empty", "");
  EXPECT_EQ(read_file(folder / "empty"), "");
}

TEST(Files, AMissingFileIsNamedWithTheReason) {
  const TempFolder folder;
  const Error error = error_of([&] { read_file(folder / "none"); });
  EXPECT_EQ(error.thing(), (folder / "none").string());
  EXPECT_THAT(error.problem(), HasSubstr("No such file"));
}

TEST(Files, AFolderIsNotAFile) {
  const TempFolder folder;
  EXPECT_THAT(error_of([&] { read_file(folder.path()); }).problem(),
              HasSubstr("is a folder"));
}

TEST(Files, APipeOrADeviceIsNotAFile) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const std::filesystem::path& path :
       {folder / "pipe", std::filesystem::path("/dev/zero")})
    EXPECT_THAT(error_of([&] { read_file(path); }).problem(),
                HasSubstr("is a pipe, device or socket"));
}

TEST(Files, JsonIsNotNestedDeeperThan64) {
  const TempFolder folder;
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  write_text(folder / "x.json", nested(64));
  EXPECT_TRUE(read_json(folder / "x.json").is_array());
  for (const size_t depth : {65, 2'000'000}) {
    write_text(folder / "x.json", nested(depth));
    EXPECT_THAT(error_of([&] { read_json(folder / "x.json"); }).problem(),
                HasSubstr("nested deeper than 64"));
  }
}

TEST(Files, RefusesMoreBytesThanAllowed) {
  const TempFolder folder;
  write_text(folder / "x", "12345");
  EXPECT_EQ(read_file(folder / "x", 5), "12345");
  EXPECT_THAT(error_of([&] { read_file(folder / "x", 4); }).problem(),
              HasSubstr("5 B long, more than the 4 B"));
}

TEST(Files, ReadsJson) {
  const TempFolder folder;
  write_text(folder / "x.json", R"({"a": [1, 2.5, "b"]})");
  EXPECT_EQ(read_json(folder / "x.json")["a"][1], 2.5);
}

TEST(Files, AKeyTwiceInOneObjectIsAnError) {
  const TempFolder folder;
  write_text(folder / "x.json",
             R"({"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}, {"b": 2}]})");
  EXPECT_EQ(read_json(folder / "x.json")["d"][1]["b"], 2);
  write_text(folder / "x.json", R"({"a": {"b": 1, "c": {}, "b": 2}})");
  EXPECT_THAT(error_of([&] { read_json(folder / "x.json"); }).problem(),
              HasSubstr("has \"b\" twice"));
}

TEST(Files, ALinkThatLeadsNowhereIsThereAndNamed) {
  const TempFolder folder;
  std::filesystem::create_symlink("nowhere", folder / "link");
  EXPECT_TRUE(is_there(folder / "link"));
  EXPECT_FALSE(is_there(folder / "none"));
  EXPECT_THAT(error_of([&] { read_file(folder / "link"); }).problem(),
              HasSubstr("is a link whose end cannot be read"));
}

TEST(Files, NamesTheLineWhereJsonBreaks) {
  const TempFolder folder;
  write_text(folder / "x.json", "{\n \"a\": 1,\n \"b\": oops\n}\n");
  const Error error = error_of([&] { read_json(folder / "x.json"); });
  EXPECT_EQ(error.thing(), (folder / "x.json").string() + " line 3");
  EXPECT_THAT(error.problem(), HasSubstr("not valid JSON"));
}

TEST(Files, AnEmptyFileIsNotJson) {
  const TempFolder folder;
  write_text(folder / "x.json", "");
  EXPECT_THAT(error_of([&] { read_json(folder / "x.json"); }).problem(),
              HasSubstr("not valid JSON"));
}

}  // namespace
}  // namespace lowmem

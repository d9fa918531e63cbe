// A config.json made to hurt, and what lies beside it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "io/error_of.h"
#include "io/temp_folder.h"
#include "lowmem/model/config.h"

namespace lowmem::model {
namespace {

using test::error_of, test::TempFolder, test::write_text;
using testing::HasSubstr;

Error error_of_config(const std::string& text) {
  const TempFolder folder;
  write_text(folder / "config.json", text);
  return error_of([&] { read_model_config(folder.path()); });
}

TEST(HostileConfig, NestingIsRefusedBeforeItIsParsed) {
  EXPECT_THAT(error_of_config(std::string(60000, '[')).problem(),
              HasSubstr("nested deeper"));
  // What is unknown is shown in the message, which must not recurse either.
  EXPECT_THAT(error_of_config(R"({"unknown":)" + std::string(30000, '[') +
                              std::string(30000, ']') + "}")
                  .problem(),
              HasSubstr("nested deeper"));
}

TEST(HostileConfig, IsNoLargerThan64KiB) {
  const TempFolder folder;
  write_text(folder / "config.json", "{");
  std::filesystem::resize_file(folder / "config.json", weights::kLargestConfig + 1);
  EXPECT_THAT(error_of([&] { read_model_config(folder.path()); }).problem(),
              HasSubstr("more than the 64"));
}

TEST(HostileConfig, MessagesStayShortWhateverTheFileHolds) {
  const Error error = error_of_config(R"({")" + std::string(20000, 'k') + R"(": ")" +
                                      std::string(20000, 'v') + R"("})");
  EXPECT_LT(std::string(error.what()).size(), 4000u);
}

TEST(HostileConfig, ALinkToItselfOrAPipeIsAnErrorThatNamesIt) {
  const TempFolder folder;
  std::filesystem::create_symlink("config.json", folder / "config.json");
  EXPECT_THAT(error_of([&] { read_model_config(folder.path()); }).what(),
              HasSubstr("config.json"));
  std::filesystem::create_symlink("circle", folder / "circle");
  EXPECT_THAT(error_of([&] { read_model_config(folder / "circle"); }).what(),
              HasSubstr("circle"));
  std::filesystem::remove(folder / "config.json");
  ASSERT_EQ(mkfifo((folder / "config.json").c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { read_model_config(folder.path()); }).problem(),
              HasSubstr("is a pipe"));
}

}  // namespace
}  // namespace lowmem::model

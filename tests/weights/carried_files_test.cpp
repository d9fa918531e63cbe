// What a model folder's result gets of it, and what not: a folder may come from anywhere,
// and may link to anything.
#include "lowmem/weights/carried_files.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "io/error_of.h"
#include "io/temp_folder.h"
#include "lowmem/core/log.h"

namespace lowmem::weights {
namespace {

namespace fs = std::filesystem;
using test::error_of, test::read_text, test::TempFolder, test::write_text;
using testing::ElementsAre, testing::HasSubstr, testing::IsEmpty;

class Carried : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(model_);
    write_text(model_ / "config.json", "{}");
    write_text(folder_ / "secret", "of somebody");
  }
  std::vector<std::string> names(const fs::path& model) {
    testing::internal::CaptureStderr();
    log::set_up(/*quiet=*/false);
    std::vector<std::string> found;
    for (const CarriedFile& file : carried_files(model)) found.push_back(file.name);
    said_ = testing::internal::GetCapturedStderr();
    return found;
  }
  std::vector<std::string> names() { return names(model_); }
  void link(const fs::path& target, const char* name = "chat_template.jinja") {
    fs::remove(model_ / name);
    fs::create_symlink(target, model_ / name);
  }

  const TempFolder folder_;
  const fs::path model_ = folder_ / "model";
  std::string said_;
};

TEST_F(Carried, FilesOfTheFolderAreItsOwn) {
  write_text(model_ / "tokenizer.json", "{}");
  write_text(model_ / "chat_template.jinja", "{{ a }}");
  EXPECT_THAT(names(), ElementsAre("tokenizer.json", "chat_template.jinja"));
}

TEST_F(Carried, LinksOutOfTheFolderAreNotFollowedAndNamed) {
  fs::create_symlink(folder_ / "secret", folder_ / "way");
  for (const fs::path& target :
       {fs::path("/etc/passwd"), folder_ / "secret", fs::path("../secret"),
        fs::path("../model/../secret"), folder_ / "way", fs::path("/proc/self/environ"),
        fs::path("/proc/self/cwd/../../../../../etc/passwd")}) {
    link(target);
    EXPECT_THAT(names(), IsEmpty()) << target;
    EXPECT_THAT(said_, HasSubstr("chat_template.jinja is a link out of the model folder"))
        << target;
  }
}

TEST_F(Carried, AFolderOfAnotherNameThatBeginsTheSameIsOutside) {
  fs::create_directories(folder_ / "model-2");
  write_text(folder_ / "model-2" / "secret", "");
  link("../model-2/secret");
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(Carried, AFolderInItThatIsALinkOutIsOutside) {
  fs::create_symlink("..", model_ / "up");
  link("up/secret");
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(Carried, LinksWithinTheFolderAreFollowed) {
  fs::create_directories(model_ / "texts");
  write_text(model_ / "texts" / "chat", "{{ a }}");
  for (const fs::path& target :
       {fs::path("texts/chat"), model_ / "texts/chat", fs::path("../model/texts/chat")}) {
    link(target);
    EXPECT_THAT(names(), ElementsAre("chat_template.jinja")) << target;
    EXPECT_EQ(said_, "");
  }
}

TEST_F(Carried, TheFolderItselfMayBeALink) {
  write_text(model_ / "tokenizer.json", "{}");
  fs::create_directory_symlink(model_, folder_ / "name");
  link("tokenizer.json");
  EXPECT_THAT(names(folder_ / "name"),
              ElementsAre("tokenizer.json", "chat_template.jinja"));
  create_model_folder(folder_ / "name" / "config.json", folder_ / "out", DType::kF32);
  EXPECT_EQ(read_text(folder_ / "out" / "chat_template.jinja"), "{}");
  EXPECT_FALSE(fs::is_symlink(folder_ / "out" / "chat_template.jinja"));
}

TEST_F(Carried, BlobsOfTheFoldersOwnCacheAreFollowed) {
  const fs::path cache = folder_ / "models--org--name";
  const fs::path snapshot = cache / "snapshots" / "abc";
  fs::create_directories(snapshot);
  fs::create_directories(cache / "blobs");
  write_text(cache / "blobs" / "1f", "{}");
  fs::create_symlink("../../blobs/1f", snapshot / "tokenizer.json");
  fs::create_symlink("../../../secret", snapshot / "chat_template.jinja");
  EXPECT_THAT(names(snapshot), ElementsAre("tokenizer.json"));
  // Another model's, by the same way.
  fs::create_directories(folder_ / "models--org--other" / "blobs");
  write_text(folder_ / "models--org--other" / "blobs" / "2f", "{}");
  fs::remove(snapshot / "chat_template.jinja");
  fs::create_symlink("../../../models--org--other/blobs/2f",
                     snapshot / "chat_template.jinja");
  EXPECT_THAT(names(snapshot), ElementsAre("tokenizer.json"));
}

TEST_F(Carried, WhatCannotBeReadIsAnErrorBeforeTheRun) {
  const auto problem = [&] {
    return error_of([&] { check_carried_files(model_); }).problem();
  };
  link("nowhere");
  EXPECT_THAT(problem(), HasSubstr("No such file"));
  link("chat_template.jinja");
  EXPECT_THAT(problem(), HasSubstr("symbolic links"));
  fs::remove(model_ / "chat_template.jinja");
  ASSERT_EQ(::mkfifo((model_ / "chat_template.jinja").c_str(), 0600), 0);
  EXPECT_THAT(problem(), HasSubstr("is a pipe"));
  fs::remove(model_ / "chat_template.jinja");
  fs::create_directory(model_ / "chat_template.jinja");
  EXPECT_THAT(problem(), HasSubstr("is a folder"));
}

}  // namespace
}  // namespace lowmem::weights

#include "lowmem/core/error.h"

#include <gtest/gtest.h>

namespace lowmem {
namespace {

TEST(Error, KeepsItsThreePartsAndJoinsThem) {
  const Error error("eval.batch_size = 0", "must be at least 1", "Set it to 32");
  EXPECT_EQ(error.thing(), "eval.batch_size = 0");
  EXPECT_EQ(error.problem(), "must be at least 1");
  EXPECT_EQ(error.remedy(), "Set it to 32");
  EXPECT_STREQ(error.what(),
               "eval.batch_size = 0: must be at least 1.\n       Set it to 32.");
}

TEST(Error, ShowsWhatFilesHoldOnOneShortLine) {
  const Error error("a\nb\x1B[2J" + std::string(10'000, 'x') + "/config.json", "is wrong",
                    "Repair it");
  const std::string what = error.what();
  EXPECT_EQ(what.find("a?b?[2Jxxx"), 0u);
  EXPECT_NE(what.find("xxx...xxx"), std::string::npos);
  EXPECT_NE(what.find("x/config.json: is wrong.\n       Repair it."), std::string::npos);
  EXPECT_LT(what.size(), 900u);
}

TEST(Error, DoesNotCutACharacterInTwo) {
  std::string thing;
  for (int i = 0; i < 1000; ++i) thing += "\xE2\x82\xAC";
  const std::string what = Error(thing, "", "").what();
  const size_t cut = what.find("...");
  EXPECT_EQ(cut % 3, 0u);
  EXPECT_EQ(what.compare(cut + 3, 3, "\xE2\x82\xAC"), 0);
}

}  // namespace
}  // namespace lowmem

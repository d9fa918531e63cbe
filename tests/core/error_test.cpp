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

}  // namespace
}  // namespace lowmem

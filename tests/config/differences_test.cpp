#include "lowmem/config/differences.h"

#include <gtest/gtest.h>

namespace lowmem {
namespace {

TEST(Differences, NameEachKeyWithBothValues) {
  RunConfig before, after;
  EXPECT_TRUE(differences(before, after).empty());
  after.optimizer.lr = 0.5;
  after.model.train = {"all", "x"};
  const auto found = differences(before, after);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].key, "model.train");
  EXPECT_EQ(found[1].key, "optimizer.lr");
  EXPECT_EQ(found[1].after, "0.5");
}

}  // namespace
}  // namespace lowmem

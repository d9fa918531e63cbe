#include "lowmem/config/comparison.h"

#include <gmock/gmock.h>

namespace lowmem {
namespace {

using testing::ElementsAre, testing::IsEmpty;

TEST(Comparison, NamesTheKeysInWhichAnyTwoDiffer) {
  RunConfig first, second, third;
  second.optimizer.lr = 0.5;
  third.model.dtype = DType::kF32;
  const Comparison found = compare({first, second, third});
  EXPECT_THAT(found.keys, ElementsAre("model.dtype", "optimizer.lr"));
  EXPECT_THAT(found.values,
              ElementsAre(ElementsAre("bf16", "1.0e-4"), ElementsAre("bf16", "0.5"),
                          ElementsAre("fp32", "1.0e-4")));
}

TEST(Comparison, LeavesOutWhatNoNumberDependsOn) {
  RunConfig first, second;
  second.run = {"other", "elsewhere", 7, true, false};
  second.train.log_every = 1;
  second.train.save_every = 5;
  second.train.keep_checkpoints = 9;
  second.memory.force = true;
  const Comparison found = compare({first, second});
  EXPECT_THAT(found.keys, IsEmpty());
  EXPECT_THAT(found.values, ElementsAre(IsEmpty(), IsEmpty()));
}

TEST(Comparison, OfOneOrNoneIsEmpty) {
  EXPECT_THAT(compare({}).keys, IsEmpty());
  EXPECT_THAT(compare({RunConfig()}).keys, IsEmpty());
}

TEST(MethodOf, SaysWhichSwitchesAreOn) {
  RunConfig config;
  EXPECT_EQ(method_of(config),
            "bf16 Adafactor, stochastic rounding, recompute, update in backward, linear "
            "cross-entropy");
  config.model.dtype = DType::kF32;
  config.model.compute_dtype = DType::kBF16;
  config.optimizer.name = OptimizerKind::kAdam;
  config.memory.activations = ActivationsMode::kKeep;
  config.memory.gradients = GradientsMode::kAccumulate;
  EXPECT_EQ(method_of(config), "fp32 Adam, bf16 arithmetic, linear cross-entropy");
}

}  // namespace
}  // namespace lowmem

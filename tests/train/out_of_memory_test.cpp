// What a run says when memory is out.
#include "lowmem/train/out_of_memory.h"

#include <c10/util/Exception.h>
#include <gmock/gmock.h>

#include <sstream>

#include "lowmem/config/overrides.h"
#include "lowmem/memory/meter.h"

namespace lowmem::train {
namespace {

using testing::HasSubstr;

RunConfig complete() {
  RunConfig config;
  apply_override(config, "model.path=model");
  apply_override(config, "data.train=rows.jsonl");
  return config;
}

// Following the advice each time, from the most generous setting on.
TEST(Exhausted, NamesOneCheaperSettingAfterAnotherUntilNoneIsLeft) {
  RunConfig config = complete();
  config.memory.activations = ActivationsMode::kKeep;
  config.memory.gradients = GradientsMode::kAccumulate;
  config.memory.linear_cross_entropy = false;
  config.optimizer.name = OptimizerKind::kAdam;
  config.model.dtype = DType::kF32;
  config.train.batch_size = 4;
  const char* settings[] = {"memory.linear_cross_entropy=true",
                            "memory.activations=recompute",
                            "memory.gradients=update",
                            "memory.weights=disk memory.ahead=1",
                            "memory.kept=disk",
                            "optimizer.name=adafactor",
                            "model.dtype=bf16",
                            "train.micro_batch_size=2",
                            "train.micro_batch_size=1"};
  for (const std::string setting : settings) {
    EXPECT_THAT(next_cheaper(config), testing::StartsWith(setting));
    std::istringstream in(next_cheaper(config));
    for (std::string override; in >> override;) apply_override(config, override);
  }
  EXPECT_EQ(next_cheaper(config), "");
}

TEST(Exhausted, ClippingGoesOnWithTwoPasses) {
  RunConfig config = complete();
  config.memory.gradients = GradientsMode::kAccumulate;
  config.optimizer.clip_norm = 1;
  EXPECT_THAT(next_cheaper(config), HasSubstr("optimizer.clip_mode=two_pass"));
}

TEST(Exhausted, SaysWhatWasAskedAndWhatIsResident) {
  RunConfig config = complete();
  config.memory.activations = ActivationsMode::kKeep;
  const memory::OutOfMemory failure(Error("a", "b", "c"), int64_t{2} << 30,
                                    int64_t{5} << 30);
  const std::string text =
      out_of_memory(config, {int64_t{3} << 30, int64_t{1} << 20}, failure).what();
  for (const char* part :
       {"2.00 GiB", "5.00 GiB in use", "weights 3.00 GiB", "optimizer state 1.0 MiB",
        "the rest 2.00 GiB", "memory.activations=recompute"})
    EXPECT_THAT(text, HasSubstr(part));
}

TEST(Exhausted, KnowsBothAllocatorsFailuresAndNoOthers) {
  const Error plain("a", "b", "c");
  EXPECT_EQ(memory::asked_of(plain), "");
  EXPECT_EQ(memory::asked_of(memory::OutOfMemory(plain, int64_t{5} << 20, 0)), "5.0 MiB");
  const c10::OutOfMemoryError gpu(c10::SourceLocation{"f", "g.cpp", 1},
                                  "CUDA out of memory. Tried to allocate 20.00 MiB. GPU "
                                  "0 has a total capacity of 1 GiB");
  EXPECT_EQ(memory::asked_of(gpu), "20.00 MiB");
}

}  // namespace
}  // namespace lowmem::train

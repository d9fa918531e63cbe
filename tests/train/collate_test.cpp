#include "lowmem/train/collate.h"

#include <gtest/gtest.h>

#include "support/tensors.h"

namespace lowmem::train {
namespace {

constexpr int32_t kNone = kIgnoreLabel;

const Example kFirst{{5, 6, 7, 8}, {kNone, 7, 8, kNone}};
const Example kSecond{{9, 10, 11, 12, 13}, {kNone, kNone, 12, kNone, kNone}};
const Example kThird{{14, 15}, {15, kNone}};

std::vector<engine::MicroBatch> collated(int64_t micro_batch_size) {
  const auto llama = test::load_model(test::fixture("models/llama32_tiny"));
  const std::vector<const Example*> examples{&kFirst, &kSecond, &kThird};
  return collate(*llama, examples, micro_batch_size);
}

std::vector<int64_t> numbers(const at::Tensor& tensor) {
  const at::Tensor wide = tensor.to(at::kLong).contiguous();
  const auto* data = wide.const_data_ptr<int64_t>();
  return {data, data + wide.numel()};
}

TEST(Collate, LeavesOutWhatReachesNoLoss) {
  const auto parts = collated(0);
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(numbers(parts[0].packed.ids), (std::vector<int64_t>{5, 6, 7, 9, 10, 11, 14}));
  EXPECT_EQ(numbers(parts[0].labels), (std::vector<int64_t>{7, 8, 12, 15}));
  EXPECT_EQ(parts[0].packed.sequences(), 3);
}

TEST(Collate, CutsABatchIntoMicroBatchesAndKeepsTheOrder) {
  const auto parts = collated(2);
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].packed.sequences(), 2);
  EXPECT_EQ(numbers(parts[1].packed.ids), (std::vector<int64_t>{14}));
  EXPECT_EQ(numbers(parts[1].labels), (std::vector<int64_t>{15}));
}

}  // namespace
}  // namespace lowmem::train

// Memory whose pages go while its tensor stays.
#include "lowmem/memory/pages.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "lowmem/memory/meter.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::memory {
namespace {

class PagesOfATensor : public testing::Test {
 protected:
  void SetUp() override { install(); }
};

TEST_F(PagesOfATensor, ARecordHasWhatIsThereStillAndNothingSmall) {
  const at::Tensor before = at::empty({100'000}, at::kByte);
  at::Tensor kept, small;
  const BlockRecord record;
  kept = at::empty({100'000}, at::kByte);
  small = at::empty({1000}, at::kByte);
  static_cast<void>(at::empty({200'000}, at::kByte));
  EXPECT_EQ(record.blocks(), std::vector<void*>{kept.mutable_data_ptr()});
  kept.reset();
  EXPECT_TRUE(record.blocks().empty());
}

TEST_F(PagesOfATensor, LeaveAndComeAndTheLedgerKnows) {
  constexpr int64_t kBytes = 1 << 20, kPage = 4096;
  at::Tensor tensor = at::full({kBytes}, 7, at::kByte);
  const int64_t before = device_ledger().current();
  const int64_t resident = resident_bytes();
  Pages pages(tensor.const_data_ptr());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(pages.span().data()) % kPage, 0u);
  EXPECT_EQ(pages.span().size() % kPage, 0u);
  EXPECT_GE(static_cast<int64_t>(pages.span().size()), kBytes - kPage);
  pages.leave();
  EXPECT_LE(device_ledger().current(), before - kBytes + kPage);
  EXPECT_LE(resident_bytes(), resident - kBytes / 2);
  pages.come();
  EXPECT_EQ(device_ledger().current(), before);
  std::fill(pages.span().begin(), pages.span().end(), std::byte{7});
  EXPECT_TRUE(tensor.eq(7).all().item<bool>());
  tensor.reset();
  EXPECT_EQ(device_ledger().current(), before - kBytes);
}

TEST_F(PagesOfATensor, SmallOrForeignMemoryHasNone) {
  const at::Tensor small = at::empty({1000}, at::kByte);
  EXPECT_TRUE(Pages(small.const_data_ptr()).span().empty());
  std::vector<std::byte> foreign(200'000);
  EXPECT_TRUE(Pages(foreign.data() + 64).span().empty());
  EXPECT_TRUE(Pages(nullptr).span().empty());
}

TEST_F(PagesOfATensor, InARehearsalTheyAreCountedAlone) {
  const Rehearsal rehearsal;
  const int64_t before = device_ledger().current();
  const at::Tensor tensor = at::empty({1 << 20}, at::kByte);
  Pages pages(tensor.const_data_ptr());
  ASSERT_FALSE(pages.span().empty());
  pages.leave();
  EXPECT_LT(device_ledger().current(), before + 8192);
  pages.come();
  EXPECT_EQ(device_ledger().current(), before + (1 << 20));
}

}  // namespace
}  // namespace lowmem::memory

#include "lowmem/memory/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace lowmem::memory {
namespace {

constexpr size_t kPage = 4096, kMegabyte = 1 << 20;

size_t distance(const void* from, const void* to) {
  return static_cast<size_t>(static_cast<const char*>(to) -
                             static_cast<const char*>(from));
}

TEST(Arena, BlocksAreWholePagesSideBySide) {
  Arena arena(kMegabyte);
  void* a = arena.allocate(1);
  void* b = arena.allocate(kPage + 1);
  void* c = arena.allocate(0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a) % kPage, 0u);
  EXPECT_EQ(distance(a, b), kPage);
  EXPECT_EQ(distance(b, c), 2 * kPage);
  EXPECT_EQ(arena.live_bytes(), 4 * kPage);
  EXPECT_TRUE(arena.owns(a));
  EXPECT_FALSE(arena.owns(&arena));
}

TEST(Arena, TakesTheSmallestGapThatHoldsABlock) {
  Arena arena(kMegabyte);
  void* large = arena.allocate(8 * kPage);
  arena.allocate(kPage);
  void* small = arena.allocate(3 * kPage);
  arena.allocate(kPage);
  arena.free(large);
  arena.free(small);
  EXPECT_EQ(arena.allocate(3 * kPage), small);
  EXPECT_EQ(arena.allocate(2 * kPage), large);
}

TEST(Arena, FreedNeighboursBecomeOneGap) {
  for (const auto& order :
       {std::vector<size_t>{0, 1, 2}, {2, 1, 0}, {0, 2, 1}, {1, 0, 2}}) {
    Arena arena(kMegabyte);
    std::vector<void*> blocks;
    for (int i = 0; i < 3; ++i) blocks.push_back(arena.allocate(2 * kPage));
    void* rest = arena.allocate(kMegabyte - 6 * kPage);
    ASSERT_NE(rest, nullptr);
    for (const size_t i : order) arena.free(blocks[i]);
    EXPECT_EQ(arena.allocate(6 * kPage), blocks[0]);
  }
}

TEST(Arena, GivesNullWhereNothingFits) {
  Arena arena(4 * kPage);
  EXPECT_EQ(arena.allocate(5 * kPage), nullptr);
  void* all = arena.allocate(4 * kPage);
  EXPECT_NE(all, nullptr);
  EXPECT_EQ(arena.allocate(1), nullptr);
  arena.free(all);
  EXPECT_EQ(arena.allocate(4 * kPage), all);
}

TEST(Arena, OneThatCannotBeReservedHoldsNothing) {
  Arena arena(size_t{1} << 62);
  EXPECT_EQ(arena.allocate(1), nullptr);
  EXPECT_FALSE(arena.owns(&arena));
}

TEST(Arena, TrimmingKeepsLiveBlocks) {
  Arena arena(kMegabyte);
  void* freed = arena.allocate(16 * kPage);
  void* live = arena.allocate(16 * kPage);
  std::memset(freed, 1, 16 * kPage);
  std::memset(live, 2, 16 * kPage);
  arena.free(freed);
  arena.trim();
  EXPECT_EQ(static_cast<char*>(live)[16 * kPage - 1], 2);
  EXPECT_EQ(static_cast<char*>(arena.allocate(16 * kPage))[5], 0);
}

// Blocks never overlap, whatever the order, from several threads.
TEST(Arena, KeepsWhatIsWrittenUnderRandomUse) {
  Arena arena(64 * kMegabyte);
  const auto use = [&](unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::pair<uint32_t*, size_t>> blocks;
    for (uint32_t i = 0; i < 3000; ++i) {
      if (blocks.size() < 20 || random() % 2 == 0) {
        const size_t count = 1 + random() % 20000;
        auto* numbers = static_cast<uint32_t*>(arena.allocate(count * sizeof(uint32_t)));
        ASSERT_NE(numbers, nullptr);
        numbers[0] = numbers[count - 1] = seed * 10000 + i;
        blocks.emplace_back(numbers, count);
      }
      if (blocks.size() > 20) {
        const size_t k = random() % blocks.size();
        const auto [numbers, count] = blocks[k];
        ASSERT_EQ(numbers[0], numbers[count - 1]);
        ASSERT_EQ(numbers[0] / 10000, seed);
        arena.free(numbers);
        blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(k));
      }
    }
    for (const auto& [numbers, count] : blocks) arena.free(numbers);
  };
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 4; ++seed) threads.emplace_back(use, seed);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(arena.live_bytes(), 0u);
  EXPECT_NE(arena.allocate(64 * kMegabyte), nullptr);
}

}  // namespace
}  // namespace lowmem::memory

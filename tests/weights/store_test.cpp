// What lies elsewhere comes back as it was, from every kind of store. Here the device is
// the CPU; tests/fake_gpu has the order of copies.
#include "lowmem/weights/store.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <string>

#include "lowmem/weights/host_memory.h"
#include "lowmem/weights/staged_file.h"
#include "lowmem/weights/working_file.h"

namespace lowmem::weights {
namespace {

constexpr int64_t kSector = DirectFile::kAlignment;

struct Kind {
  const char* name;
  std::unique_ptr<Store> (*make)();
};

class AnyStore : public testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<Store> store_ = GetParam().make();
};

INSTANTIATE_TEST_SUITE_P(Weights, AnyStore,
                         testing::Values(Kind{"HostMemory",
                                              []() -> std::unique_ptr<Store> {
                                                return std::make_unique<HostMemory>(
                                                    c10::kCPU);
                                              }},
                                         Kind{"WorkingFile",
                                              []() -> std::unique_ptr<Store> {
                                                return std::make_unique<WorkingFile>(
                                                    testing::TempDir());
                                              }},
                                         Kind{"StagedFile",
                                              []() -> std::unique_ptr<Store> {
                                                return std::make_unique<StagedFile>(
                                                    testing::TempDir(), c10::kCPU);
                                              }}),
                         [](const auto& given) { return std::string(given.param.name); });

void fill(const Room& room, int64_t sectors, int64_t number) {
  auto* to = reinterpret_cast<int64_t*>(room.data());
  for (int64_t i = 0; i < sectors * kSector / 8; ++i) to[i] = number * 1'000'003 + i;
}

// Requests as a home makes them, many at a time, some of them for nothing: what is read
// is what was written last, though nobody waits for a write before he reads it.
TEST_P(AnyStore, GivesBackWhatWasWrittenLast) {
  constexpr int64_t kPlaces = 6, kRooms = 4;
  const std::vector<int64_t> sectors = {1, 3, 2, 8, 5, 4};
  std::vector<int64_t> offsets, written(kPlaces, -1);
  for (const int64_t each : sectors) offsets.push_back(store_->extend(each * kSector));
  EXPECT_TRUE(std::is_sorted(offsets.begin(), offsets.end()));
  std::vector<Room> rooms;
  for (int64_t i = 0; i < kRooms; ++i)
    rooms.emplace_back(8 * kSector, memory::Item::kWeights);
  std::vector<Store::Ticket> last(kRooms, 0);  // of each room
  const Room want(8 * kSector, memory::Item::kWeights);
  std::mt19937 random(7);
  int64_t moved_in = 0, moved_out = 0;
  for (int64_t round = 0; round < 300; ++round) {
    const auto place = random() % kPlaces, room = random() % kRooms;
    const int64_t bytes = sectors[place] * kSector;
    store_->wait(std::exchange(last[room], 0));
    if (random() % 2 == 0) {
      written[place] = round;
      fill(rooms[room], sectors[place], round);
      last[room] = store_->write(offsets[place], rooms[room].span(0, bytes));
      moved_out += bytes;
    } else if (written[place] >= 0) {
      const Store::Ticket ticket =
          store_->read(offsets[place], rooms[room].span(0, bytes));
      moved_in += bytes;
      if (random() % 4 == 0) {
        store_->forget(ticket);
        // The room may be used again by what is asked for next.
        const Store::Ticket again =
            store_->read(offsets[place], rooms[room].span(0, bytes));
        moved_in += bytes;
        store_->wait(again);
      }
      store_->wait(ticket);
      fill(want, sectors[place], written[place]);
      ASSERT_EQ(std::memcmp(rooms[room].data(), want.data(), static_cast<size_t>(bytes)),
                0)
          << "round " << round << ", place " << place;
    }
  }
  EXPECT_EQ(store_->traffic().read, moved_in);
  EXPECT_EQ(store_->traffic().written, moved_out);
}

// What was extended by in several parts is one range.
TEST_P(AnyStore, KeepsWhatLiesAcrossItsParts) {
  for (const int64_t sectors : {2, 1, 5}) store_->extend(sectors * kSector);
  const Room room(5 * kSector, memory::Item::kWeights);
  fill(room, 5, 3);
  store_->wait(store_->write(kSector, room.span(0, 5 * kSector)));
  const Room found(5 * kSector, memory::Item::kWeights);
  store_->wait(store_->read(kSector, found.span(0, 5 * kSector)));
  EXPECT_EQ(std::memcmp(found.data(), room.data(), 5 * kSector), 0);
}

TEST_P(AnyStore, HasRowsOfAMatrix) {
  store_->extend(kSector);
  const at::Tensor matrix = at::arange(300 * 24, at::kFloat).view({300, 24});
  const auto bytes = static_cast<int64_t>(matrix.nbytes());
  const auto* numbers = static_cast<const std::byte*>(matrix.const_data_ptr());
  const int64_t offset = store_->extend(whole_sectors(bytes));
  const Room spare(8 * kSector, memory::Item::kWeights);
  store_->write_through(offset, bytes, spare,
                        [&](int64_t at, std::span<std::byte> piece) {
                          std::memcpy(piece.data(), numbers + at, piece.size());
                        });
  int64_t at = 0;
  store_->read_through(offset, bytes, spare, [&](std::span<const std::byte> piece) {
    EXPECT_EQ(std::memcmp(piece.data(), numbers + at, piece.size()), 0) << at;
    at += static_cast<int64_t>(piece.size());
  });
  EXPECT_EQ(at, bytes);

  const ops::MatrixRows rows = store_->rows(offset, matrix);
  for (int64_t begin = 0; begin < 300; begin += 70) {
    const int64_t end = std::min<int64_t>(300, begin + 70);
    EXPECT_TRUE(at::equal(rows.slice(begin, end), matrix.slice(0, begin, end)));
  }
  const at::Tensor ids = at::tensor({299, 0, 7, 7, 150}, at::kLong);
  EXPECT_TRUE(at::equal(rows.index_select(ids), matrix.index_select(0, ids)));
}

}  // namespace
}  // namespace lowmem::weights

#include "lowmem/data/batches.h"

#include <algorithm>
#include <numeric>

#include "data/support.h"

namespace lowmem {
namespace {

std::vector<int64_t> epoch_of(Batches& batches) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < batches.steps_per_epoch(); ++i)
    for (const int64_t row : batches.next()) rows.push_back(row);
  return rows;
}

std::vector<int64_t> up_to(int64_t count) {
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return rows;
}

TEST(Batches, KeepsTheLastPartialBatch) {
  Batches batches(10, 4, /*shuffle=*/false, 0);
  EXPECT_EQ(batches.steps_per_epoch(), 3);
  EXPECT_EQ(batches.next(), (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(batches.next(), (std::vector<int64_t>{4, 5, 6, 7}));
  EXPECT_EQ(batches.next(), (std::vector<int64_t>{8, 9}));
  EXPECT_EQ(batches.next(), (std::vector<int64_t>{0, 1, 2, 3}));
}

TEST(Batches, TakesEveryRowOnceAnEpoch) {
  Batches batches(1000, 7, /*shuffle=*/true, 42);
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> rows = epoch_of(batches);
    EXPECT_NE(rows, up_to(1000));
    std::sort(rows.begin(), rows.end());
    EXPECT_EQ(rows, up_to(1000));
  }
}

TEST(Batches, ShuffleEpochsDifferently) {
  Batches batches(100, 10, true, 42);
  EXPECT_NE(epoch_of(batches), epoch_of(batches));
}

TEST(Batches, ShuffleBySeedAndEpochAlone) {
  Batches by_tens(100, 10, true, 42), by_nines(100, 9, true, 42),
      other(100, 10, true, 43);
  const std::vector<int64_t> first = epoch_of(by_tens);
  EXPECT_EQ(first, epoch_of(by_nines));
  EXPECT_NE(first, epoch_of(other));
  const std::vector<int64_t> second = epoch_of(by_tens);
  Batches later(100, 10, true, 42);
  later.seek({1, 0});
  EXPECT_EQ(epoch_of(later), second);
}

// A place of 64 where each of 4,000 epochs puts row 0: a chi-square of 63 degrees of
// freedom exceeds 120 once in a hundred thousand times.
TEST(Batches, PutARowInEveryPlaceEquallyOften) {
  constexpr int64_t kRows = 64, kEpochs = 4000;
  std::vector<double> counts(kRows);
  Batches batches(kRows, kRows, true, 7);
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const std::vector<int64_t> rows = batches.next();
    counts[static_cast<size_t>(std::find(rows.begin(), rows.end(), 0) - rows.begin())]++;
  }
  constexpr double kExpected = static_cast<double>(kEpochs) / kRows;
  double chi_square = 0;
  for (const double count : counts)
    chi_square += (count - kExpected) * (count - kExpected) / kExpected;
  EXPECT_LT(chi_square, 120);
}

TEST(Batches, GoOnFromACursor) {
  for (int steps = 0; steps < 9; ++steps) {
    Batches batches(10, 4, true, 5);
    for (int i = 0; i < steps; ++i) batches.next();
    Batches resumed(10, 4, true, 5);
    resumed.seek(batches.cursor());
    EXPECT_EQ(resumed.epoch(), batches.epoch());
    for (int i = 0; i < 7; ++i) EXPECT_EQ(resumed.next(), batches.next()) << steps;
  }
}

TEST(Batches, CountTheEpochThatTheLastBatchWasOf) {
  Batches batches(4, 2, true, 5);
  std::vector<int64_t> epochs;
  for (int i = 0; i < 5; ++i) {
    batches.next();
    epochs.push_back(batches.epoch());
  }
  EXPECT_EQ(epochs, (std::vector<int64_t>{0, 0, 1, 1, 2}));
}

TEST(Batches, RefuseACursorOfOtherData) {
  Batches batches(10, 4, true, 5);
  EXPECT_EQ(test::error_of([&] {
              batches.seek({1, 11});
            }),
            "row 11 of epoch 1: is no place in epochs of 10 rows");
  EXPECT_NE(test::error_of([&] { batches.seek({0, -1}); }), "nothing");
  EXPECT_NE(test::error_of([&] { batches.seek({-1, 0}); }), "nothing");
}

}  // namespace
}  // namespace lowmem

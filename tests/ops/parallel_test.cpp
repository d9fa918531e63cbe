#include "lowmem/ops/parallel.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace lowmem::ops {
namespace {

class Parallel : public testing::Test {
 protected:
  Parallel() { at::set_num_threads(2); }
  ~Parallel() override { at::set_num_threads(before_); }

 private:
  int before_ = at::get_num_threads();
};

TEST_F(Parallel, RunsOnAsManyThreadsAsLibTorchHas) {
  std::mutex mutex;
  std::set<std::thread::id> threads;
  parallel(1000, 1, [&](int64_t, int64_t) {
    const std::scoped_lock lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(threads.size(), 2u);
}

TEST_F(Parallel, VisitsEachElementOnceInPiecesOfTheGrain) {
  for (const int64_t count : {0, 1, 7, 1000}) {
    std::vector<std::atomic<int>> visits(static_cast<size_t>(count));
    std::atomic<int> pieces = 0;
    parallel(count, 600, [&](int64_t begin, int64_t end) {
      ++pieces;
      for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
    });
    for (const auto& times : visits) EXPECT_EQ(times, 1);
    EXPECT_EQ(pieces, count == 0 ? 0 : count < 600 ? 1 : 2);
  }
}

TEST_F(Parallel, ThrowsWhatAThreadThrew) {
  EXPECT_THROW(parallel(1000, 1,
                        [](int64_t begin, int64_t) {
                          if (begin > 0) throw std::runtime_error("second half");
                        }),
               std::runtime_error);
}

}  // namespace
}  // namespace lowmem::ops

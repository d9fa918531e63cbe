// Weights that live on the disk or in the host's memory: nothing is lost, nothing is here
// that is not borrowed, and no more is moved than must be.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <tuple>

#include "io/error_of.h"
#include "lowmem/memory/meter.h"
#include "lowmem/weights/selection.h"
#include "support/tensors.h"

namespace lowmem::weights {
namespace {

using test::fixture;

HomeSetup away(WeightsMode where, int64_t ahead = 1, int64_t resident = 0) {
  return {.weights = where,
          .scratch = testing::TempDir(),
          .ahead = ahead,
          .resident_blocks = resident};
}

std::vector<Spec> specs_of(int64_t blocks, int64_t hidden = 24) {
  std::vector<Spec> specs = {{"model.embed_tokens.weight", {100, hidden}}};
  for (int64_t i = 0; i < blocks; ++i) {
    const std::string name = "model.layers." + std::to_string(i);
    const auto group = static_cast<size_t>(i + 1);
    specs.push_back({name + ".norm.weight", {hidden}, Kind::kNorm, group});
    specs.push_back({name + ".mlp.weight", {40, hidden}, Kind::kMatrix, group});
  }
  const auto top = static_cast<size_t>(blocks + 1);
  specs.push_back({"model.norm.weight", {hidden}, Kind::kNorm, top});
  specs.push_back({"lm_head.weight", {100, hidden}, Kind::kMatrix, top});
  return specs;
}

// A number that tells every element of every weight from every other.
at::Tensor numbers_of(const Weight& weight, int64_t times = 1) {
  return (at::arange(weight.spec.elements(), at::kFloat) + 10000.0f * weight.index)
      .mul_(times)
      .view(weight.spec.shape);
}

// A table in a home, with its numbers.
struct Housed {
  explicit Housed(const HomeSetup& setup, int64_t blocks = 6,
                  const std::vector<std::string>& train = {"layers"})
      : table(specs_of(blocks), DType::kF32) {
    select(table, train);
    home = make_home(setup, table);
    write(1);
  }

  void write(int64_t times) {
    for (size_t group = 0; group < table.groups(); ++group) {
      const Lease lease = home->borrow(group, Access::kWrite);
      for (Weight* weight : table.group(group)) {
        const at::Tensor numbers = numbers_of(*weight, times);
        home->write(*weight, [&](int64_t offset, std::span<std::byte> piece) {
          std::memcpy(piece.data(),
                      static_cast<const std::byte*>(numbers.const_data_ptr()) + offset,
                      piece.size());
        });
      }
    }
  }

  // As read() gives them.
  void expect(int64_t times) {
    for (size_t group = 0; group < table.groups(); ++group) {
      const Lease lease = home->borrow(group, Access::kRead);
      for (const Weight* weight : table.group(group)) {
        const at::Tensor numbers = numbers_of(*weight, times);
        int64_t offset = 0;
        home->read(*weight, [&](std::span<const std::byte> piece) {
          EXPECT_EQ(std::memcmp(
                        static_cast<const std::byte*>(numbers.const_data_ptr()) + offset,
                        piece.data(), piece.size()),
                    0)
              << weight->name() << " from byte " << offset;
          offset += static_cast<int64_t>(piece.size());
        });
        EXPECT_EQ(offset, weight->bytes());
      }
    }
  }

  Table table;
  std::unique_ptr<Home> home;
};

// Where they live, how many blocks come ahead of their turn, how many stay.
class Away : public testing::TestWithParam<std::tuple<WeightsMode, int64_t, int64_t>> {};

TEST_P(Away, KeepsEveryNumber) {
  const auto [where, ahead, resident] = GetParam();
  Housed housed(away(where, ahead, resident));
  housed.expect(1);
  housed.write(2);
  housed.expect(2);
}

TEST_P(Away, KeepsWhatIsBesideThem) {
  const auto [where, ahead, resident] = GetParam();
  Housed housed(away(where, ahead, resident), 6, {"all"});
  housed.home->make_states([](const Weight& weight) {
    return std::vector<StateSpec>{{"mean", weight.spec.shape}, {"codes", {7}, at::kByte}};
  });
  for (const int64_t round : {0, 1, 2})
    for (size_t group = 0; group < housed.table.groups(); ++group) {
      const Lease lease = housed.home->borrow(group, Access::kWrite);
      for (Weight* weight : housed.table.group(group)) {
        at::Tensor &mean = weight->beside.at("mean"), &codes = weight->beside.at("codes");
        EXPECT_TRUE(at::equal(codes, at::full({7}, round, at::kByte))) << weight->name();
        codes.fill_(round + 1);
        const at::Tensor old = numbers_of(*weight, round),
                         now = numbers_of(*weight, round + 1);
        housed.home->pass(*weight, 0, Access::kWrite, [&](int64_t begin, int64_t end) {
          EXPECT_TRUE(at::equal(mean.slice(0, begin, end), old.slice(0, begin, end)))
              << weight->name();
          mean.slice(0, begin, end).copy_(now.slice(0, begin, end));
        });
      }
    }
  housed.expect(1);
}

constexpr WeightsMode kPlaces[] = {WeightsMode::kHost, WeightsMode::kDisk};

std::string name_of(const testing::TestParamInfo<Away::ParamType>& given) {
  const auto [where, ahead, resident] = given.param;
  return std::string(word_of(where)) + std::to_string(ahead) + "Ahead" +
         std::to_string(resident) + "Stay";
}

INSTANTIATE_TEST_SUITE_P(Weights, Away,
                         testing::Combine(testing::ValuesIn(kPlaces),
                                          testing::Values(0, 1, 2, 20),
                                          testing::Values(0, 1, 6)),
                         name_of);

class AwayFrom : public testing::TestWithParam<WeightsMode> {
 protected:
  static HomeSetup setup(int64_t ahead = 1, int64_t resident = 0) {
    return away(GetParam(), ahead, resident);
  }
};

INSTANTIATE_TEST_SUITE_P(Weights, AwayFrom, testing::ValuesIn(kPlaces),
                         [](const auto& given) {
                           return std::string(word_of(given.param));
                         });

TEST_P(AwayFrom, ABlockIsHereWhileItIsBorrowedAndNoLonger) {
  Housed housed(setup());
  const Weight* weight = housed.table.group(2).front();
  EXPECT_EQ(weight->here.const_data_ptr(), nullptr);
  {
    const Lease lease = housed.home->borrow(2, Access::kRead);
    EXPECT_TRUE(at::equal(weight->here, numbers_of(*weight)));
  }
  EXPECT_EQ(weight->here.const_data_ptr(), nullptr);
}

TEST_P(AwayFrom, WhatIsReadAloneIsNotWritten) {
  Housed housed(setup());
  {
    const Lease lease = housed.home->borrow(2, Access::kRead);
    housed.table.group(2).front()->here.fill_(7);
  }
  for (size_t group = 3; group < 6; ++group)
    const Lease lease = housed.home->borrow(group, Access::kRead);
  housed.expect(1);
}

TEST_P(AwayFrom, MatricesPassByRows) {
  Housed housed(setup());
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    const Weight& weight = housed.table.at(name);
    EXPECT_TRUE(weight.by_rows);
    const at::Tensor all = numbers_of(weight);
    const Lease lease = housed.home->borrow(weight.spec.group, Access::kRead);
    const ops::MatrixRows rows = housed.home->rows(weight);
    for (const int64_t width : {1, 7, 33, 100})
      for (int64_t begin = 0; begin < 100; begin += width) {
        const int64_t end = std::min<int64_t>(100, begin + width);
        EXPECT_TRUE(at::equal(rows.slice(begin, end), all.slice(0, begin, end)))
            << begin << " to " << end;
      }
    // In no order, some of them twice.
    const at::Tensor ids = at::tensor({99, 0, 5, 5, 42, 0, 98}, at::kLong);
    EXPECT_TRUE(at::equal(rows.index_select(ids), all.index_select(0, ids)));
    EXPECT_EQ(rows.index_select(at::empty({0}, at::kLong)).size(0), 0);
  }
}

// 24 columns: 512 rows are whole sectors of codes, of which 2,000 are four parts.
TEST_P(AwayFrom, TrainedMatricesOfTheEdgesPassByRows) {
  std::vector<Spec> specs = specs_of(1);
  specs.back().shape = {2000, 24};
  Table table(specs, DType::kF32);
  select(table, {"all"});
  const auto home = make_home(setup(), table);
  Weight& head = table.at("lm_head.weight");
  ASSERT_TRUE(head.by_rows);
  home->make_states([](const Weight& weight) {
    return std::vector<StateSpec>{{"mean", weight.spec.shape, at::kBFloat16},
                                  {"codes", weight.spec.shape, at::kByte},
                                  {"row", {weight.spec.shape[0]}}};
  });
  const Lease lease = home->borrow(head.spec.group, Access::kWrite);
  const at::Tensor numbers = numbers_of(head);
  const auto of = [&](int64_t round, const char* state, int64_t begin, int64_t end) {
    return (numbers.slice(0, begin, end) * round).to(head.beside.at(state).scalar_type());
  };
  for (const int64_t step : {0, 64, 1000, 7}) {
    const int64_t round = step + 2;
    int64_t parts = 0;
    home->pass(head, step, Access::kWrite, [&](int64_t begin, int64_t end) {
      const at::Tensor here = head.here.slice(0, begin, end);
      head.beside.at("row").slice(0, begin, end).fill_(round);
      here.copy_(numbers.slice(0, begin, end) * round);
      for (const char* state : {"mean", "codes"})
        head.beside.at(state).slice(0, begin, end).copy_(of(round, state, begin, end));
      if (step > 0) {
        EXPECT_EQ(begin % step, 0);
        EXPECT_TRUE(end % step == 0 || end == 2000) << end;
      }
      ++parts;
    });
    EXPECT_EQ(parts, step == 64 ? 4 : 1) << step;
    int64_t next = 0;
    home->pass(head, 64, Access::kReadAll, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(begin, std::exchange(next, end));
      EXPECT_TRUE(at::equal(head.here.slice(0, begin, end),
                            numbers.slice(0, begin, end) * round));
      for (const char* state : {"mean", "codes"})
        EXPECT_TRUE(at::equal(head.beside.at(state).slice(0, begin, end),
                              of(round, state, begin, end)))
            << state << " of " << step;
    });
    EXPECT_EQ(next, 2000);
    const ops::MatrixRows rows = home->rows(head);
    EXPECT_TRUE(at::equal(rows.slice(500, 600), numbers.slice(0, 500, 600) * round));
  }
}

// What was never written is zeros, for who reads it alone as well.
TEST_P(AwayFrom, StatesThatPassByRowsBeginAsZeros) {
  Housed housed(setup(), 2, {"all"});
  housed.home->make_states([](const Weight& weight) {
    return std::vector<StateSpec>{{"mean", weight.spec.shape}};
  });
  Weight& head = housed.table.at("lm_head.weight");
  const auto bytes_of = [&] {
    const Lease lease = housed.home->borrow(head.spec.group, Access::kReadAll);
    std::vector<std::byte> all;
    housed.home->read(head, "mean", [&](std::span<const std::byte> piece) {
      all.insert(all.end(), piece.begin(), piece.end());
    });
    return all;
  };
  const auto bytes = static_cast<size_t>(head.bytes());
  EXPECT_EQ(bytes_of(), std::vector<std::byte>(bytes));
  {
    const Lease lease = housed.home->borrow(head.spec.group, Access::kWrite);
    housed.home->write(head, "mean", [&](int64_t, std::span<std::byte> piece) {
      std::fill(piece.begin(), piece.end(), std::byte{7});
    });
  }
  EXPECT_EQ(bytes_of(), std::vector<std::byte>(bytes, std::byte{7}));
}

// Up and down again, as a step goes.
Traffic step(Home& home, size_t blocks) {
  const Traffic before = home.traffic();
  for (size_t block = 1; block <= blocks; ++block) {
    const Lease lease = home.borrow(block, Access::kRead);
    for (size_t next = 1; next <= home.ahead() && block + next <= blocks; ++next)
      home.expect(block + next, Access::kRead);
  }
  for (size_t block = blocks; block > 0; --block) {
    const Lease lease = home.borrow(block, Access::kWrite);
    for (size_t next = 1; next <= home.ahead() && block > next; ++next)
      home.expect(block - next, Access::kWrite);
  }
  const Traffic after = home.traffic();
  return {after.read - before.read, after.written - before.written, 0};
}

TEST_P(AwayFrom, MovesNoMoreThanItMust) {
  constexpr size_t kBlocks = 8;
  const int64_t block = 4096;  // a sector holds 40 x 24 numbers and a norm
  for (const int64_t ahead : {0, 1, 2, 3}) {
    Housed housed(setup(ahead), kBlocks);
    step(*housed.home, kBlocks);
    const Traffic moved = step(*housed.home, kBlocks);
    // The last blocks are not brought again for the way down, nor the first for the way
    // up.
    EXPECT_EQ(moved.read, 2 * block * (static_cast<int64_t>(kBlocks) - 1 - ahead));
    EXPECT_EQ(moved.written, block * static_cast<int64_t>(kBlocks));
    housed.expect(1);
  }
}

TEST_P(AwayFrom, WhatStaysIsReadOnce) {
  constexpr size_t kBlocks = 6;
  Housed housed(setup(1, 6), kBlocks);
  EXPECT_EQ(step(*housed.home, kBlocks).read, 0);
}

TEST(OnDisk, HoldsAFewBlocksInMemory) {
  memory::install();
  const auto bytes_of = [](const HomeSetup& setup) {
    const int64_t before = memory::device_ledger().current();
    Table table(specs_of(12, 4096), DType::kF32);
    select(table, {"layers"});
    const auto home = make_home(setup, table);
    return memory::device_ledger().current() - before;
  };
  const int64_t block = int64_t{41} * 4096 * 4, sector = 4096, norm = 4096 * 4;
  EXPECT_EQ(bytes_of(away(WeightsMode::kDisk, 1)), 2 * (block + sector) + norm);
  EXPECT_EQ(bytes_of(away(WeightsMode::kDisk, 2, 3)), 6 * (block + sector) + norm);
}

TEST(OnDisk, AFolderThatIsNotThereIsNamed) {
  HomeSetup setup = away(WeightsMode::kDisk);
  setup.scratch = testing::TempDir() + "/nowhere";
  const Error error = test::error_of([&] { Housed housed(setup); });
  EXPECT_NE(error.thing().find("nowhere"), std::string::npos) << error.thing();
}

// Hugging Face folders, read and written through a home that holds two blocks.
TEST_P(AwayFrom, LoadsAndSavesAFolder) {
  const auto source = fixture("models/llama2_tiny");
  Table table(model::weight_specs(model::read_model_config(source)), DType::kF32);
  select(table, {"layers"});
  const auto home = make_home(setup(), table);
  load(*home, source);
  const auto folder = std::filesystem::path(testing::TempDir()) / "saved-from-elsewhere";
  std::filesystem::remove_all(folder);
  save(*home, source, folder);

  const auto before = test::load_model(source), after = test::load_model(folder);
  for (const auto& item : before->named_parameters())
    EXPECT_TRUE(at::equal(item.value(), after->named_parameters()[item.key()]))
        << item.key();
}

}  // namespace
}  // namespace lowmem::weights

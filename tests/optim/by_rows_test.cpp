// A matrix that is there by rows alone is updated to the same bits as one that is whole.
#include "lowmem/weights/selection.h"
#include "optim/support.h"

namespace lowmem::optim {
namespace {

using test::config_of, test::normal, test::slot_of, test::with_each_state;
using weights::Access, weights::Weight;

// A part of a gradient is made when it is asked for.
class Made final : public ops::RowSource {
 public:
  explicit Made(at::Tensor whole) : whole_(std::move(whole)) {}
  at::Tensor slice(int64_t begin, int64_t end) override {
    EXPECT_EQ(begin % step(), 0);
    return whole_.slice(0, begin, end).clone();
  }
  int64_t step() const override { return 48; }

 private:
  at::Tensor whole_;
};

constexpr int64_t kRows = 3000, kColumns = 40;  // 512 rows are whole sectors

// An embedding of those numbers that lives on the disk.
struct OnDisk {
  OnDisk(const Optimizer& optimizer, const at::Tensor& start)
      : table({{"model.embed_tokens.weight", {kRows, kColumns}},
               {"model.layers.0.norm.weight", {8}, weights::Kind::kNorm, 1},
               {"model.norm.weight", {8}, weights::Kind::kNorm, 2}},
              ops::dtype_of(start)) {
    weights::select(table, {"model.embed_tokens.weight"});
    home = weights::make_home(
        {.weights = WeightsMode::kDisk, .scratch = testing::TempDir()}, table);
    home->make_states([&](const Weight& weight) { return optimizer.states_of(weight); });
    home->write(weight(), [&](int64_t offset, std::span<std::byte> piece) {
      std::memcpy(piece.data(),
                  static_cast<const std::byte*>(start.const_data_ptr()) + offset,
                  piece.size());
    });
  }
  Weight& weight() { return table.all().front(); }

  // All of it, as if it were here.
  Weight whole() {
    Weight whole = slot_of(home->rows(weight()).slice(0, kRows), weight().index);
    whole.updates = weight().updates;
    for (const auto& [name, tensor] : weight().beside)
      whole.beside[name] = at::empty(tensor.sizes(), tensor.options());
    home->pass(weight(), 0, Access::kReadAll, [&](int64_t begin, int64_t end) {
      for (const auto& [name, tensor] : weight().beside)
        if (tensor.sizes() == weight().here.sizes())
          whole.beside[name].slice(0, begin, end).copy_(tensor.slice(0, begin, end));
        else
          whole.beside[name].copy_(tensor);
    });
    return whole;
  }

  weights::Table table;
  std::unique_ptr<weights::Home> home;
};

class ByRows : public testing::TestWithParam<const char*> {};

TEST_P(ByRows, GivesTheSameBits) {
  for (const OptimizerConfig& with_state : with_each_state(config_of(GetParam())))
    for (const RoundingMode rounding : test::kRoundings)
      for (const auto dtype : {at::kFloat, at::kBFloat16}) {
        OptimizerConfig config = with_state;
        config.rounding = rounding;
        const at::Tensor start = normal({kRows, kColumns}, 1, dtype);
        auto whole = test::rule(config, 5);
        OnDisk by_rows(*whole.optimizer, start);
        Weight slot = slot_of(start, by_rows.weight().index);
        for (int64_t i = 0; i < 3; ++i) {
          const at::Tensor gradient =
              normal({kRows, kColumns}, static_cast<uint64_t>(10 + i), dtype);
          const StepInfo step{i, config.lr, 0.5f, true};
          const UpdateResult want = whole->update(slot, gradient, step);
          const Passes passes(by_rows.weight(),
                              {by_rows.weight().here, std::make_shared<Made>(gradient)},
                              by_rows.home.get());
          const UpdateResult found =
              whole.optimizer->update(by_rows.weight(), passes, step);
          EXPECT_EQ(found.squared_norm, want.squared_norm);
          EXPECT_EQ(found.rounding.updates, want.rounding.updates);
          EXPECT_EQ(found.rounding.lost, want.rounding.lost);
        }
        test::expect_same(by_rows.whole(), slot);
      }
}

TEST_P(ByRows, WritesNothingOfAGradientThatIsNotFinite) {
  const OptimizerConfig config = config_of(GetParam());
  const at::Tensor start = normal({kRows, kColumns}, 1);
  auto rule = test::rule(config, 5);
  OnDisk by_rows(*rule.optimizer, start);
  at::Tensor gradient = normal({kRows, kColumns}, 2);
  gradient[kRows - 1][3] = std::numeric_limits<float>::quiet_NaN();
  const Passes passes(by_rows.weight(),
                      {by_rows.weight().here, std::make_shared<Made>(gradient)},
                      by_rows.home.get());
  EXPECT_FALSE(
      rule.optimizer->update(by_rows.weight(), passes, {0, config.lr, 1}).finite());
  const Weight after = by_rows.whole();
  EXPECT_TRUE(at::equal(after.here, start));
  for (const auto& [name, tensor] : after.beside)
    EXPECT_EQ(tensor.abs().max().item<double>(), 0) << name;
}

INSTANTIATE_TEST_SUITE_P(Optim, ByRows, testing::ValuesIn(test::kRules),
                         [](const auto& given) { return std::string(given.param); });

}  // namespace
}  // namespace lowmem::optim

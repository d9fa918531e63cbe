// The device's RMS norm against the CPU's. Sums are added up in another order, so results
// agree to a few units of the last place.
#include "lowmem/kernels/rms_norm.h"

#include "emulation/support.h"

namespace lowmem::kernels {
namespace {

using test::Numbers;

struct Case {
  int64_t rows, columns, shift;
};
std::vector<Case> cases() {
  std::vector<Case> all{{70, 64, 0}, {300, 5, 0}};  // more rows than one group has
  for (const int64_t columns : test::lengths())
    for (const int64_t shift : test::kShifts) all.push_back({3, columns, shift});
  return all;
}

// Types of x, of the weight and of y.
class EmulatedRmsNorm : public testing::TestWithParam<std::tuple<DType, DType, DType>> {
 protected:
  const DType x_type_ = std::get<0>(GetParam()), weight_type_ = std::get<1>(GetParam()),
              y_type_ = std::get<2>(GetParam());
};

TEST_P(EmulatedRmsNorm, ForwardIsThatOfTheCpu) {
  for (const auto& [rows, columns, shift] : cases()) {
    SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
    const Numbers x(rows * columns, x_type_, shift, 1);
    const Numbers weight(columns, weight_type_, shift, 2);
    const RmsNormArgs args{x.read_only(), weight.read_only(), columns, 1e-5f};
    Numbers want(rows * columns, y_type_);
    rms_norm(args, want.array(), 0, rows);
    test::for_all_launches([&] {
      Numbers y(rows * columns, y_type_, shift);
      emulated::rms_norm(args, y.array(), rows, nullptr);
      test::expect_near(y, want, y_type_, y_type_ == DType::kF32 ? 3 : 1);
      return y.bytes();
    });
  }
}

TEST_P(EmulatedRmsNorm, BackwardIsThatOfTheCpu) {
  for (const auto& [rows, columns, shift] : cases()) {
    SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
    const Numbers x(rows * columns, x_type_, shift, 1);
    const Numbers weight(columns, weight_type_, shift, 2);
    const Numbers dy(rows * columns, y_type_, shift, 3);
    const RmsNormArgs args{x.read_only(), weight.read_only(), columns, 1e-5f};
    Numbers want(rows * columns, x_type_), want_weight(columns, DType::kF32, 0, 4);
    rms_norm_backward(args, dy.read_only(), want.array(), want_weight.as<float>(), 0,
                      rows);
    test::for_all_launches([&] {
      Numbers dx(rows * columns, x_type_, shift), dweight(columns, DType::kF32, 0, 4);
      Numbers workspace(emulated::rms_norm_workspace(rows, columns), DType::kF32);
      emulated::rms_norm_backward(args, dy.read_only(), dx.array(), dweight.as<float>(),
                                  workspace.as<float>(), rows, nullptr);
      test::expect_near(dx, want, x_type_, x_type_ == DType::kF32 ? 4 : 1, 2e-6f);
      test::expect_near(dweight, want_weight, DType::kF32, 4,
                        5e-6f + 1e-7f * static_cast<float>(rows));
      workspace.bytes();
      return dx.bytes() + dweight.bytes();
    });
  }
}

TEST_P(EmulatedRmsNorm, BackwardLeavesOutWhatIsNotWanted) {
  constexpr int64_t kRows = 5, kColumns = 40;
  const Numbers x(kRows * kColumns, x_type_, 0, 1), weight(kColumns, weight_type_, 0, 2);
  const Numbers dy(kRows * kColumns, y_type_, 0, 3);
  const RmsNormArgs args{x.read_only(), weight.read_only(), kColumns, 1e-5f};
  const auto run = [&](bool wants_x, bool wants_weight) {
    Numbers dx(kRows * kColumns, x_type_), dweight(kColumns, DType::kF32);
    Numbers workspace(emulated::rms_norm_workspace(kRows, kColumns), DType::kF32);
    emulated::rms_norm_backward(args, dy.read_only(), wants_x ? dx.array() : Array{},
                                wants_weight ? dweight.as<float>() : nullptr,
                                wants_weight ? workspace.as<float>() : nullptr, kRows,
                                nullptr);
    return std::pair(dx.bytes(), dweight.bytes());
  };
  const auto both = run(true, true);
  EXPECT_EQ(run(true, false).first, both.first);
  EXPECT_EQ(run(false, true).second, both.second);
}

TEST_P(EmulatedRmsNorm, NoRowsAreNoWork) {
  const Numbers weight(8, weight_type_, 0, 2);
  const RmsNormArgs args{{nullptr, x_type_}, weight.read_only(), 8, 1e-5f};
  emulated::rms_norm(args, {nullptr, y_type_}, 0, nullptr);
  Numbers dweight(8, DType::kF32, 0, 4);
  const std::string before = dweight.bytes();
  emulated::rms_norm_backward(args, {nullptr, y_type_}, {}, dweight.as<float>(), nullptr,
                              0, nullptr);
  EXPECT_EQ(dweight.bytes(), before);
}

INSTANTIATE_TEST_SUITE_P(Kernels, EmulatedRmsNorm,
                         testing::Combine(testing::ValuesIn(test::kTypes),
                                          testing::ValuesIn(test::kTypes),
                                          testing::ValuesIn(test::kTypes)),
                         [](const auto& given) {
                           return test::type_name(std::get<0>(given.param)) +
                                  test::type_name(std::get<1>(given.param)) +
                                  test::type_name(std::get<2>(given.param));
                         });

}  // namespace
}  // namespace lowmem::kernels

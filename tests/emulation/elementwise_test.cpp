// Operations without sums, SwiGLU and rotary embedding: the CPU's bits.
#include "emulation/support.h"
#include "lowmem/kernels/rotary.h"
#include "lowmem/kernels/swiglu.h"

namespace lowmem::kernels {
namespace {

using test::Numbers;

class EmulatedElementwise : public testing::TestWithParam<DType> {};

// Gate, up and y of some rows and columns; the gate goes where its sigmoid is 0 and 1.
struct Swiglu {
  static constexpr int64_t kRows = 5;

  Swiglu(int64_t columns, int64_t first, int64_t shift, DType dtype)
      : stride(columns + 2 * first),
        gate(kRows * stride, dtype, shift, 1, -120, 120),
        up(kRows * stride, dtype, shift, 2),
        y(kRows * columns, dtype, shift, 3),
        args{gate.array(), up.array(), stride, first, columns} {}

  std::string bytes() const { return gate.bytes() + up.bytes() + y.bytes(); }

  int64_t stride;
  Numbers gate, up, y;
  SwigluArgs args;
};

TEST_P(EmulatedElementwise, SwigluGivesTheBitsOfTheCpu) {
  for (const int64_t columns : test::lengths())
    for (const int64_t first : {0, 3, 8})
      for (const int64_t shift : test::kShifts) {
        SCOPED_TRACE(columns);
        Swiglu want(columns, first, shift, GetParam());
        swiglu(want.args, want.y.array(), columns, 0, Swiglu::kRows);
        const std::string got = test::for_all_launches([&] {
          Swiglu problem(columns, first, shift, GetParam());
          emulated::swiglu(problem.args, problem.y.array(), columns, Swiglu::kRows,
                           nullptr);
          return problem.bytes();
        });
        EXPECT_TRUE(got == want.bytes());
      }
}

TEST_P(EmulatedElementwise, SwigluMayTakeTheGatesPlace) {
  for (const int64_t columns : {24, 513}) {
    Swiglu want(columns, 8, 0, GetParam()), problem(columns, 8, 0, GetParam());
    const auto place = [](Swiglu& in) {
      char* first = static_cast<char*>(in.gate.array().data) +
                    8 * (in.gate.array().dtype == DType::kF32 ? 4 : 2);
      return Array{first, in.gate.array().dtype};
    };
    swiglu(want.args, place(want), want.stride, 0, Swiglu::kRows);
    emulated::swiglu(problem.args, place(problem), problem.stride, Swiglu::kRows,
                     nullptr);
    EXPECT_TRUE(problem.bytes() == want.bytes());
  }
}

TEST_P(EmulatedElementwise, SwigluBackwardGivesTheBitsOfTheCpu) {
  for (const int64_t columns : test::lengths())
    for (const int64_t first : {0, 3, 8})
      for (const int64_t shift : test::kShifts) {
        SCOPED_TRACE(columns);
        Swiglu want(columns, first, shift, GetParam());
        swiglu_backward(want.args, want.y.array(), 0, Swiglu::kRows);
        const std::string got = test::for_all_launches([&] {
          Swiglu problem(columns, first, shift, GetParam());
          emulated::swiglu_backward(problem.args, problem.y.array(), Swiglu::kRows,
                                    nullptr);
          return problem.bytes();
        });
        EXPECT_TRUE(got == want.bytes());
      }
}

TEST_P(EmulatedElementwise, RotaryGivesTheBitsOfTheCpuInPlaceToo) {
  constexpr int64_t kTokens = 5;
  for (const int64_t heads : {1, 3, 40})
    for (const int64_t half : {1, 5, 8, 32, 64, 100})
      for (const bool inverse : {false, true})
        for (const bool in_place : {false, true})
          for (const int64_t shift : test::kShifts) {
            SCOPED_TRACE(std::to_string(heads) + " heads of " + std::to_string(2 * half));
            const int64_t count = kTokens * heads * 2 * half;
            const Numbers cos(kTokens * half, DType::kF32, 0, 2);
            const Numbers sin(kTokens * half, DType::kF32, 0, 3);
            const auto run = [&](const auto& kernel) {
              Numbers x(count, GetParam(), shift, 1), y(count, GetParam(), shift);
              Numbers& out = in_place ? x : y;
              kernel(RotaryArgs{x.read_only(),
                                static_cast<const float*>(cos.read_only().data),
                                static_cast<const float*>(sin.read_only().data), heads,
                                2 * half, inverse},
                     out.array());
              return out.bytes();
            };
            const std::string want = run(
                [](const RotaryArgs& args, Array out) { rotary(args, out, 0, kTokens); });
            const std::string got = test::for_all_launches([&] {
              return run([](const RotaryArgs& args, Array out) {
                emulated::rotary(args, out, kTokens, nullptr);
              });
            });
            EXPECT_TRUE(got == want);
          }
}

INSTANTIATE_TEST_SUITE_P(Kernels, EmulatedElementwise, testing::ValuesIn(test::kTypes),
                         test::name_of_type);

}  // namespace
}  // namespace lowmem::kernels

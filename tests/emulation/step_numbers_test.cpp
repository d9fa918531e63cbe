// Updates that take the numbers of a step from device memory, as those do that a CUDA
// graph replays: the bits of the same numbers given as arguments.
#include "emulation/adafactor.h"
#include "support/optimizer_args.h"

namespace lowmem::kernels {
namespace {

using test::Numbers, test::Parameter;

constexpr StepNumbers kSteps[] = {{.lr = 0.1,
                                   .step = 6,
                                   .step_size = 0.02f,
                                   .root = 0.3f,
                                   .decoupled_keep = 0.99f,
                                   .most_ratio = 2},
                                  {.lr = 0.03,
                                   .step = 70,
                                   .step_size = 0.2f,
                                   .root = 0.7f,
                                   .decoupled_keep = 0.9f,
                                   .most_ratio = 5}};
// What a launch is recorded with, and no step must use.
constexpr StepNumbers kRecorded{.lr = 3,
                                .step = 9,
                                .step_size = 5,
                                .root = 0.1f,
                                .decoupled_keep = 0.5f,
                                .most_ratio = 100};

// Who makes an update, and where it has the numbers from.
enum class By { kCpu, kArguments, kMemory };

const StepNumbers& arguments(const StepNumbers& now, By by) {
  return by == By::kMemory ? kRecorded : now;
}
Pending pending(const StepNumbers& now, By by) {
  return {.step = by == By::kMemory ? &now : nullptr};
}

// A parameter, its gradient and its optimizer's state.
struct Subject {
  static constexpr int64_t kCount = 1001;

  Subject(DType dtype, Rounding rounding, DType gradient_type, DType state)
      : parameter(kCount, dtype, 0, rounding),
        gradient(kCount, gradient_type, 0, 3),
        momentum(kCount, DType::kF32, 0, 4, 0, 1),
        averages(kCount, state, 0) {}
  std::string bytes() const {
    return parameter.bytes() + momentum.bytes() + averages.bytes();
  }

  Parameter parameter;
  Numbers gradient, momentum;
  test::Averages<Numbers> averages;
};

// Types of weights and gradient, and how weights are rounded.
class EmulatedStepNumbers
    : public testing::TestWithParam<std::tuple<DType, Rounding, DType>> {
 protected:
  const DType dtype_ = std::get<0>(GetParam()), gradient_type_ = std::get<2>(GetParam());
  const Rounding rounding_ = std::get<1>(GetParam());

  // `rule(subject, now, by)` makes one step. Its numbers lie at one address for all
  // steps.
  template <class Make, class Rule>
  static void expect_same_bits(Make make, Rule rule) {
    const auto run = [&](By by) {
      const auto subject = make();
      std::vector<std::string> after{subject->bytes()};
      StepNumbers now;
      for (const StepNumbers& step : kSteps) {
        now = step;
        rule(*subject, now, by);
        after.push_back(subject->bytes());
      }
      return after;
    };
    const std::vector<std::string> want = run(By::kCpu);
    EXPECT_FALSE(want[0] == want[1] || want[1] == want[2]);
    EXPECT_TRUE(run(By::kArguments) == want);
    EXPECT_TRUE(run(By::kMemory) == want);
  }

  auto maker(DType state) const {
    return [=, this] {
      return std::make_unique<Subject>(dtype_, rounding_, gradient_type_, state);
    };
  }
  void expect_same_adam(bool decoupled) const {
    for (const DType state : {DType::kF32, DType::kBF16, DType::kU8})
      expect_same_bits(maker(state), [&](Subject& subject, const StepNumbers& now,
                                         By by) {
        const StepNumbers& own = arguments(now, by);
        AdamArgs args = subject.averages.args(subject.parameter.weights,
                                              subject.gradient.read_only());
        if (decoupled) args.coupled_decay = 0;
        args.weights.noise.step = args.mean.noise.step = args.mean_square.noise.step =
            own.step;
        args.step_size = own.step_size;
        args.root = own.root;
        args.most_ratio = own.most_ratio;
        args.decoupled_keep = own.decoupled_keep;
        if (by == By::kCpu)
          adam(args, 0, Subject::kCount);
        else
          emulated::adam(args, 0, Subject::kCount, pending(now, by), nullptr, nullptr);
      });
  }
};

TEST_P(EmulatedStepNumbers, SgdTakesThoseInMemory) {
  for (const bool momentum : {false, true})
    expect_same_bits(
        maker(DType::kF32), [&](Subject& subject, const StepNumbers& now, By by) {
          const StepNumbers& own = arguments(now, by);
          SgdArgs args =
              test::sgd_args(subject.parameter.weights, subject.gradient.read_only(),
                             momentum ? subject.momentum.as<float>() : nullptr);
          args.weights.noise.step = own.step;
          args.lr = static_cast<float>(own.lr);
          if (by == By::kCpu)
            sgd(args, 0, Subject::kCount);
          else
            emulated::sgd(args, 0, Subject::kCount, pending(now, by), nullptr, nullptr);
        });
}

TEST_P(EmulatedStepNumbers, AdamTakesThoseInMemory) {
  expect_same_adam(/*decoupled=*/false);
}

TEST_P(EmulatedStepNumbers, AdamWTakesThoseInMemory) {
  expect_same_adam(/*decoupled=*/true);
}

// Its averages have sums in another order than the CPU's: those are the device's here.
TEST_P(EmulatedStepNumbers, AdafactorTakesThoseInMemory) {
  struct Whole : test::AdafactorProblem {
    using AdafactorProblem::AdafactorProblem;
    std::string bytes() const { return parameter.bytes() + averaged(); }
  };
  for (const bool matrix : {true, false})
    expect_same_bits(
        [&] {
          return std::make_unique<Whole>(
              test::AdafactorProblem::Shape{matrix ? 5 : 1, 72, 0}, dtype_, rounding_,
              gradient_type_, matrix);
        },
        [&](Whole& whole, const StepNumbers& now, By by) {
          const StepNumbers& own = arguments(now, by);
          whole.args.weights.noise.step = own.step;
          const Pending given = pending(now, by);
          if (by == By::kCpu)
            adafactor_write(whole.args, whole.prepare(given, own.lr), 0, whole.rows);
          else
            whole.update(given, own.lr);
        });
}

INSTANTIATE_TEST_SUITE_P(Kernels, EmulatedStepNumbers, test::every_parameter(),
                         test::name_of_parameter);

}  // namespace
}  // namespace lowmem::kernels

#include "lowmem/kernels/adam.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "lowmem/ops/device.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/ops/elements.h"
#include "optimizers.h"

namespace lowmem::optim {
namespace {

constexpr const char* kMean = "exp_avg";
constexpr const char* kMeanSquare = "exp_avg_sq";
// Of an average in 8 bits: a scale for each block of codes.
const std::string kScales = ".scales";

// Weights of fewer elements keep averages in fp32 where others have 8 bits, as in
// bitsandbytes (min_8bit_size).
constexpr int64_t kLeastQuantized = 4096;

// Adam and AdamW: they differ in where weight decay enters.
class Adam final : public Optimizer {
 public:
  Adam(const RuleNumbers& numbers, bool decoupled, uint64_t seed)
      : Optimizer(numbers, seed), decoupled_(decoupled) {}

  // The factors of the run's update `step`. A step that was skipped, whole or for a
  // weight, counts as well: a device does not know of it.
  kernels::StepNumbers step_numbers(const StepInfo& step) const override {
    const double t = static_cast<double>(step.step + 1);
    kernels::StepNumbers numbers = Optimizer::step_numbers(step);
    numbers.step_size = static_cast<float>(step.lr / (1 - std::pow(numbers_.beta1, t)));
    numbers.root = static_cast<float>(std::sqrt(1 - std::pow(numbers_.beta2, t)));
    // With room for rounding, which decides where the two are equal (beta1 = 0).
    numbers.most_ratio = static_cast<float>(
        std::min((1 + 1e-5) * most_ratio(t),
                 static_cast<double>(std::numeric_limits<float>::max())));
    if (decoupled_)
      numbers.decoupled_keep = static_cast<float>(1 - step.lr * numbers_.weight_decay);
    return numbers;
  }

 private:
  std::vector<weights::StateSpec> rule_states(
      const weights::Weight& weight) const override {
    const int64_t elements = weight.spec.elements();
    const bool codes = numbers_.state == StateType::kInt8 && elements >= kLeastQuantized;
    const at::ScalarType type = codes                                ? at::kByte
                                : numbers_.state == StateType::kBF16 ? at::kBFloat16
                                                                     : at::kFloat;
    std::vector<weights::StateSpec> states;
    for (const char* name : {kMean, kMeanSquare}) {
      states.push_back({name, weight.spec.shape, type});
      // Scales of 0 make every code a 0.
      if (codes) states.push_back({name + kScales, {kernels::code_blocks(elements)}});
    }
    return states;
  }

  UpdateResult apply(weights::Weight& weight, const Passes& passes,
                     const StepInfo& step) override {
    UpdateResult result{passes.squared_norm(), {}};
    if (!result.finite()) return result;
    const kernels::StepNumbers now = step_numbers(step);
    passes.each(weights::Access::kWrite, [&](const Passes::Piece& piece) {
      kernels::AdamArgs args = args_of(weight, piece.gradient, step);
      args.scale = step.grad_scale;
      args.step_size = now.step_size;
      args.root = now.root;
      args.decoupled_keep = now.decoupled_keep;
      args.most_ratio = now.most_ratio;
      // Threads share whole blocks of codes.
      result.rounding += ops::parallel_update(
          kernels::code_blocks(piece.end - piece.begin),
          ops::kGrain / kernels::kCodeBlock, [&](int64_t begin, int64_t end) {
            return kernels::adam(
                args, piece.begin + begin * kernels::kCodeBlock,
                std::min(piece.end, piece.begin + end * kernels::kCodeBlock));
          });
    });
    return result;
  }

  void apply_on_device(weights::Weight& weight, const Passes& passes,
                       const DeviceUpdate& update) override {
    if (!update.measured) passes.add_squared_norm(update.squared_norm);
    passes.each(weights::Access::kWrite, [&](const Passes::Piece& piece) {
      kernels::cuda::adam(args_of(weight, piece.gradient, {}), piece.begin, piece.end,
                          pending_of(update), report_of(update),
                          ops::stream_of(weight.here));
    });
  }

  // The most that m^2 may be of v after t updates (kernels/adam.h).
  double most_ratio(double t) const {
    const double rest = 1 - numbers_.beta1;
    const double q = numbers_.beta1 * numbers_.beta1 / numbers_.beta2;
    return rest * rest / (1 - numbers_.beta2) *
           (q == 1 ? t : (1 - std::pow(q, t)) / (1 - q));
  }

  // All but the factors.
  kernels::AdamArgs args_of(weights::Weight& weight, const kernels::ConstArray& gradient,
                            const StepInfo& step) const {
    return {
        .weights = weights_of(weight, step),
        .gradient = gradient,
        .mean = average(weight, kMean, kMeanNoise, step),
        .mean_square = average(weight, kMeanSquare, kSquareNoise, step),
        .mean_rate = static_cast<float>(1 - numbers_.beta1),
        .beta2 = static_cast<float>(numbers_.beta2),
        .square_rate = static_cast<float>(1 - numbers_.beta2),
        .eps = static_cast<float>(numbers_.eps),
        .coupled_decay = decoupled_ ? 0.0f : static_cast<float>(numbers_.weight_decay)};
  }

  // A bf16 average has noise of its own: the upper bits of the parameter's number tell
  // the streams apart.
  static constexpr uint32_t kMeanNoise = 0x80000000, kSquareNoise = 0x40000000;

  kernels::State average(weights::Weight& weight, const char* name, uint32_t stream,
                         const StepInfo& step) const {
    at::Tensor& tensor = weight.beside.at(name);
    const auto scales = weight.beside.find(name + kScales);
    return {tensor.mutable_data_ptr(),
            ops::dtype_of(tensor),
            {seed_, static_cast<uint32_t>(step.step), weight.index | stream},
            scales != weight.beside.end() ? ops::floats_of(scales->second) : nullptr};
  }

  bool decoupled_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adam(const RuleNumbers& numbers, bool decoupled,
                                     uint64_t seed) {
  return std::make_unique<Adam>(numbers, decoupled, seed);
}

}  // namespace lowmem::optim

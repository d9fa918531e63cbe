#pragma once

// What tests of optimizers on the device share.

#include "emulation/support.h"

namespace lowmem::kernels::test {

// A parameter of a type and a rounding.
struct Parameter {
  Parameter(int64_t count, DType dtype, int64_t shift, Rounding rounding)
      : values(count, dtype, shift, 1),
        compensation(count, DType::kBF16, shift, 2, -1e-3f, 1e-3f) {
    weights.data = values.array().data;
    weights.dtype = dtype;
    weights.rounding = rounding;
    weights.noise = {.seed = 0x123456789abcdef0, .step = 5, .parameter = 7};
    weights.compensation = compensation.as<Bf16>();
    weights.report = true;
  }
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  int64_t count() const { return values.count(); }
  std::string bytes() const { return values.bytes() + compensation.bytes(); }

  Numbers values, compensation;
  ParamView weights;
};

// Types of weights and of their gradient, and how weights are rounded.
inline auto every_parameter() {
  return testing::Combine(
      testing::ValuesIn(kTypes),
      testing::Values(Rounding::kNearest, Rounding::kStochastic, Rounding::kKahan),
      testing::ValuesIn(kTypes));
}
inline std::string name_of_parameter(
    const testing::TestParamInfo<std::tuple<DType, Rounding, DType>>& given) {
  const auto [dtype, rounding, gradient] = given.param;
  const char* modes[] = {"Nearest", "Stochastic", "Kahan"};
  return type_name(dtype) + modes[static_cast<size_t>(rounding)] + "From" +
         type_name(gradient);
}

}  // namespace lowmem::kernels::test

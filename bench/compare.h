#pragma once

// How a kernel is compared with ATen: both do the same work on the same tensors, on one
// thread, and the kernel does it once for each instruction set that this machine has.

#include <ATen/ATen.h>
#include <benchmark/benchmark.h>

#include <optional>
#include <string>

#include "lowmem/kernels/isa.h"

namespace lowmem::bench {

// Llama-3.2-1B, and a batch of eight HellaSwag rows.
constexpr int64_t kHidden = 2048, kIntermediate = 8192;
constexpr int64_t kHeads = 32, kHeadDim = 64;
constexpr int64_t kTokens = 328, kLabelled = 146;

// Numbers of the standard normal distribution times `deviation`.
inline at::Tensor normal(at::IntArrayRef shape, at::ScalarType dtype,
                         double deviation = 1) {
  return at::randn(shape, at::kFloat).mul_(deviation).to(dtype);
}

// weights -= change [like weights, fp32], as it is written in ATen: bf16 weights are
// rounded stochastically, by adding random bits below their mantissa and cutting it off.
inline void subtract(at::Tensor& weights, const at::Tensor& change) {
  if (weights.scalar_type() == at::kFloat) {
    weights.sub_(change);
    return;
  }
  at::Tensor bits = weights.to(at::kFloat).sub_(change).view(at::kInt);
  bits.add_(at::randint(1 << 16, bits.sizes(), bits.options())).bitwise_and_(-(1 << 16));
  weights.copy_(bits.view(at::kFloat));
}

// Times one side of a comparison: ATen's without `isa`.
template <class Comparison>
void run(benchmark::State& state, at::ScalarType dtype, std::optional<kernels::Isa> isa) {
  Comparison comparison(dtype);
  if (isa) kernels::use_isa(*isa);
  for (auto _ : state) {
    if constexpr (requires { comparison.reset(); }) {
      state.PauseTiming();
      comparison.reset();
      state.ResumeTiming();
    }
    if (isa)
      comparison.kernel();
    else
      comparison.aten();
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * comparison.bytes());
  if constexpr (requires { comparison.elements(); })
    state.SetItemsProcessed(state.iterations() * comparison.elements());
}

// Registers NAME/TYPE/aten and NAME/TYPE/ISA for fp32, bf16 and every instruction set. A
// Comparison is made from the type of its tensors and has
//
//   void kernel()     the work as lowmem-train does it
//   void aten()       the same in ATen's operations
//   int64_t bytes()   that the work must read and write at the least
//   int64_t elements()  where they are what is counted: of the work
//   void reset()      where the work overwrites its input: restores it, untimed
template <class Comparison>
bool compare(const std::string& name) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto add = [&](const char* side, std::optional<kernels::Isa> isa) {
      const std::string full = name + (dtype == at::kFloat ? "/fp32/" : "/bf16/") + side;
      benchmark::RegisterBenchmark(full.c_str(), run<Comparison>, dtype, isa)
          ->Unit(benchmark::kMillisecond);
    };
    add("aten", std::nullopt);
    for (const auto isa :
         {kernels::Isa::kPortable, kernels::Isa::kAvx2, kernels::Isa::kAvx512})
      if (isa <= kernels::best_isa()) add(kernels::isa_name(isa), isa);
  }
  return true;
}

}  // namespace lowmem::bench

#include "compare.h"
#include "lowmem/ops/elements.h"

namespace lowmem::bench {
namespace {

struct SquaredNorm {
  explicit SquaredNorm(at::ScalarType dtype)
      : gradient(normal({kIntermediate, kHidden}, dtype)) {}
  void kernel() { benchmark::DoNotOptimize(ops::squared_norm(gradient)); }
  void aten() {
    benchmark::DoNotOptimize(
        at::linalg_vector_norm(gradient, 2, std::nullopt, false, at::kFloat).square());
  }
  int64_t bytes() const { return static_cast<int64_t>(gradient.nbytes()); }

  at::Tensor gradient;
};

[[maybe_unused]] const bool registered = compare<SquaredNorm>("squared_norm");

}  // namespace
}  // namespace lowmem::bench

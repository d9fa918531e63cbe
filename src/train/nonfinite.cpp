#include "nonfinite.h"

#include <string>

#include "lowmem/core/error.h"
#include "lowmem/core/log.h"

namespace lowmem::train {
namespace {

constexpr int64_t kMostInARow = 20;

std::string what_is_not_finite(const engine::StepResult& result) {
  if (!result.finite_loss()) return "the loss is not finite";
  const auto& names = result.gradients.nonfinite;
  std::string what = "the gradient of " + names.front() + " is not finite";
  if (names.size() > 1)
    what += ", nor those of " + std::to_string(names.size() - 1) + " more";
  return what;
}

}  // namespace

void answer_nonfinite(const engine::StepResult& result, const RunConfig& config,
                      Progress& progress) {
  if (result.finite_loss() && result.gradients.nonfinite.empty()) {
    progress.nonfinite_in_a_row = 0;
    return;
  }
  std::string what = what_is_not_finite(result);
  const std::string step = "step " + std::to_string(progress.step + 1);
  const bool stop = config.train.on_nonfinite == NonfiniteMode::kStop;
  if (++progress.nonfinite_in_a_row == kMostInARow && !stop)
    what += ", nor was any of the " + std::to_string(kMostInARow - 1) + " steps before";
  if (stop || progress.nonfinite_in_a_row == kMostInARow)
    throw Error(step, what,
                std::string("Use a smaller optimizer.lr, a warm-up or "
                            "optimizer.clip_norm") +
                    (stop ? ", or set train.on_nonfinite = skip" : "") +
                    "; no model was written");
  ++progress.results.nonfinite_steps;
  const bool whole = !result.finite_loss() || config.optimizer.clip_norm > 0;
  log::warn(step + ": " + what + "; " + (whole ? "the step" : "its update") +
            " is skipped");
}

}  // namespace lowmem::train

#include "lowmem/train/best_model.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/io/atomic_folder.h"
#include "lowmem/memory/scope.h"
#include "lowmem/train/exported.h"

namespace lowmem::train {
namespace {

namespace fs = std::filesystem;

double loss_of(const eval::Likelihood& likelihood) {
  return std::isnan(likelihood.loss) ? HUGE_VAL : likelihood.loss;
}

}  // namespace

bool better(const Scores& a, const Scores& b) {
  if (a.accuracy && b.accuracy) {
    if (a.accuracy->acc != b.accuracy->acc) return a.accuracy->acc > b.accuracy->acc;
    if (a.accuracy->acc_norm != b.accuracy->acc_norm)
      return a.accuracy->acc_norm > b.accuracy->acc_norm;
  }
  return a.likelihood && b.likelihood && loss_of(*a.likelihood) < loss_of(*b.likelihood);
}

fs::path BestModel::path(int64_t step) const {
  return folder_ / ("step-" + std::to_string(step));
}

bool BestModel::has(int64_t step) const {
  std::error_code code;
  return fs::is_directory(path(step), code);
}

void BestModel::save(int64_t step, weights::Home& home) const {
  AtomicFolder folder(path(step));
  write_kept(config_, home, folder.path());
  folder.commit();
}

void BestModel::load(int64_t step, weights::Home& home) const {
  read_kept(config_, home, path(step));
}

void BestModel::keep_only(const std::set<int64_t>& steps) const {
  std::set<fs::path> kept;
  for (const int64_t step : steps) kept.insert(path(step));
  std::vector<fs::path> removed;
  std::error_code code;
  for (fs::directory_iterator at(folder_, code), end; !code && at != end;
       at.increment(code))
    if (!kept.contains(at->path())) removed.push_back(at->path());
  for (const fs::path& folder : removed) {
    if (is_partial(folder))
      fs::remove_all(folder, code);
    else
      remove_folder(folder);
  }
  if (steps.empty()) fs::remove(folder_, code);  // where nothing else lies in it
}

void BestSoFar::consider(const Results::Epoch& evaluation, weights::Home& home,
                         bool last) {
  auto& best = results_.best;
  if (best && !better(evaluation.scores, best->scores)) return;
  best = evaluation;
  if (!config_.train.keep_best || last) return;
  const memory::Scope phase(memory::Phase::kSave);
  model_.save(evaluation.step, home);
  model_.keep_only({evaluation.step, in_checkpoint_});
}

bool BestSoFar::gains_nothing() const {
  if (config_.train.stop_after == 0 || !results_.best) return false;
  return std::count_if(results_.epochs.begin(), results_.epochs.end(),
                       [&](const Results::Epoch& epoch) {
                         return epoch.step > results_.best->step;
                       }) >= config_.train.stop_after;
}

void BestSoFar::go_on(const TrainConfig& before) {
  auto& best = results_.best;
  if (!best || !config_.train.keep_best) return;
  if (model_.has(best->step)) {
    in_checkpoint_ = best->step;
    return;
  }
  if (before.keep_best)
    throw Error(folder_.string() + "/step-" + std::to_string(best->step),
                "is gone, with the weights that evaluated best so far",
                "Set train.keep_best = false, or begin the run anew");
  best.reset();  // it kept none so far
}

void BestSoFar::saved() {
  in_checkpoint_ = results_.best ? results_.best->step : 0;
  if (config_.train.keep_best) model_.keep_only({in_checkpoint_});
}

int64_t BestSoFar::choose(int64_t step, weights::Home& home) const {
  const auto& best = results_.best;
  if (!config_.train.keep_best || !best || best->step == step) return step;
  model_.load(best->step, home);
  log::info("exports the weights after step " + std::to_string(best->step) +
            ", which evaluated best");
  return best->step;
}

}  // namespace lowmem::train

#include "lowmem/train/best_model.h"

#include <cmath>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/io/atomic_folder.h"
#include "lowmem/weights/hf_folder.h"

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

void BestModel::save(int64_t step, weights::Home& home, const fs::path& source) const {
  AtomicFolder folder(path(step));
  weights::save(home, source, folder.path());
  folder.commit();
}

void BestModel::load(int64_t step, weights::Home& home) const {
  weights::load(home, path(step));
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

}  // namespace lowmem::train

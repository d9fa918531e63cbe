#pragma once

#include <cstdint>
#include <filesystem>
#include <set>

#include "lowmem/config/run_config.h"
#include "lowmem/train/results.h"
#include "lowmem/weights/home.h"

namespace lowmem::train {

// Whether `a` is a better result than `b`: HellaSwag's accuracy decides, then the one by
// length, then the likelihood of other rows. Equal ones are not better; a loss that is no
// number is the worst.
bool better(const Scores& a, const Scores& b);

// The weights that have evaluated best, with train.keep_best: what the run would make of
// them, in `<run>/best/step-<number>`, whole or absent.
class BestModel {
 public:
  BestModel(const RunConfig& config, std::filesystem::path folder)
      : config_(config), folder_(std::move(folder)) {}

  bool has(int64_t step) const;
  // Writes one.
  void save(int64_t step, weights::Home& home) const;
  // Fills the home with one.
  void load(int64_t step, weights::Home& home) const;
  // Removes all but those after these steps.
  void keep_only(const std::set<int64_t>& steps) const;

 private:
  std::filesystem::path path(int64_t step) const;
  const RunConfig& config_;
  std::filesystem::path folder_;
};

// Which of a run's evaluations was the best so far, and with train.keep_best the weights
// of then. Refers to the configuration and the results.
class BestSoFar {
 public:
  BestSoFar(const RunConfig& config, Results& results,
            const std::filesystem::path& folder)
      : config_(config), results_(results), folder_(folder), model_(config, folder) {}

  // An evaluation. `last`: of the run's last weights, which need not be kept.
  void consider(const Results::Epoch& evaluation, weights::Home& home, bool last);
  // Whether train.stop_after evaluations in turn were no better than one before them.
  bool gains_nothing() const;

  // After results were read from a checkpoint of a run with those settings. Throws Error
  // where the weights that it counts on are gone.
  void go_on(const TrainConfig& before);
  // A checkpoint knows of the best: no older one is needed any more.
  void saved();

  // Fills the home with the weights to export, after `step` the last one; returns theirs.
  int64_t choose(int64_t step, weights::Home& home) const;
  // Removes what was kept.
  void clear() const { model_.keep_only({}); }

 private:
  const RunConfig& config_;
  Results& results_;
  std::filesystem::path folder_;
  BestModel model_;
  int64_t in_checkpoint_ = 0;  // the step that the newest one calls the best
};

}  // namespace lowmem::train

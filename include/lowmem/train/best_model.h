#pragma once

#include <cstdint>
#include <filesystem>
#include <set>

#include "lowmem/train/evaluation.h"
#include "lowmem/weights/home.h"

namespace lowmem::train {

// Whether `a` is a better result than `b`: HellaSwag's accuracy decides, then the one by
// length, then the likelihood of other rows. Equal ones are not better; a loss that is no
// number is the worst.
bool better(const Scores& a, const Scores& b);

// The weights that have evaluated best, with train.keep_best: a Hugging Face folder
// `<run>/best/step-<number>`, whole or absent.
class BestModel {
 public:
  explicit BestModel(std::filesystem::path folder) : folder_(std::move(folder)) {}

  bool has(int64_t step) const;
  // Writes one. `source`: as of weights::save().
  void save(int64_t step, weights::Home& home, const std::filesystem::path& source) const;
  // Fills the home with one.
  void load(int64_t step, weights::Home& home) const;
  // Removes all but those after these steps.
  void keep_only(const std::set<int64_t>& steps) const;

 private:
  std::filesystem::path path(int64_t step) const;
  std::filesystem::path folder_;
};

}  // namespace lowmem::train

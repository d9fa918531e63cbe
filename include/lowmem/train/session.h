#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "lowmem/config/run_config.h"
#include "lowmem/data/batches.h"
#include "lowmem/data/example.h"
#include "lowmem/engine/step.h"
#include "lowmem/eval/hellaswag.h"
#include "lowmem/optim/schedule.h"
#include "lowmem/tokenizer/tokenizer.h"

namespace lowmem::train {

// The model that the configuration names, with its weights. Throws Error naming what is
// wrong, also where the tokenizer has ids that the model's vocabulary lacks.
std::unique_ptr<model::Llama> load_model(const RunConfig& config,
                                         const Tokenizer& tokenizer);

// The evaluation that the configuration asks for; nullopt where eval.data is empty.
std::optional<eval::HellaSwag> make_evaluation(const RunConfig& config,
                                               const Tokenizer& tokenizer);

loss::LossOptions loss_options(const RunConfig& config);

// Everything a training run works with, built from its configuration in the order in
// which mistakes are cheapest to find: data before weights.
class Session {
 public:
  explicit Session(const RunConfig& config);

  const RunConfig& config() const { return config_; }
  model::Llama& model() { return *model_; }
  const std::optional<eval::HellaSwag>& evaluation() const { return evaluation_; }
  eval::HellaSwagResult evaluate() const;

  int64_t total_steps() const;
  int64_t steps_per_epoch() const { return batches_.steps_per_epoch(); }
  // Trains on the next batch; `step` counts updates from 0.
  engine::StepResult step(int64_t step);
  double lr(int64_t step) const { return schedule_.at(step); }

 private:
  RunConfig config_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<Example> examples_;
  std::optional<eval::HellaSwag> evaluation_;
  Batches batches_;
  optim::Schedule schedule_;
  std::unique_ptr<model::Llama> model_;
  engine::Parameters parameters_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::unique_ptr<engine::Activations> activations_;
  std::unique_ptr<engine::Weights> weights_;
  std::unique_ptr<engine::Gradients> gradients_;
  engine::Step step_;
};

}  // namespace lowmem::train

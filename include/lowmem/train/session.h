#pragma once

#include <functional>
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
#include "lowmem/train/checkpoint.h"

namespace lowmem::train {

// Where the run computes: a GPU, opened and measured from here on, or the CPU. Before any
// tensor is made. Throws Error where the configuration asks for what is not there.
c10::Device open_device(const MemoryConfig& memory);

// The model that the configuration names, of the given shape, with its weights unless
// others will be put in their place. Throws Error naming what is wrong, also where the
// tokenizer, of `vocabulary` ids, has more than the model.
std::unique_ptr<model::Llama> load_model(const RunConfig& config,
                                         const model::LlamaConfig& shape,
                                         int64_t vocabulary, c10::Device device,
                                         bool with_weights = true);

// The evaluation that the configuration asks for; nullopt where eval.data is empty. Adds
// to `skipped_rows` what data.on_bad_row = skip leaves out.
std::optional<eval::HellaSwag> make_evaluation(const RunConfig& config,
                                               const model::LlamaConfig& shape,
                                               const Tokenizer& tokenizer,
                                               c10::Device device, int64_t& skipped_rows);

// Of evaluations: in slices of the vocabulary whatever memory.linear_cross_entropy says,
// since whole logits of four endings could outweigh training.
inline loss::LossOptions sliced_loss(c10::Device device) {
  return device.is_cpu() ? loss::LossOptions{} : loss::kDeviceLoss;
}

// Everything a training run works with, built from its configuration in the order in
// which mistakes are cheapest to find: data before weights.
class Session {
 public:
  // Goes on from a checkpoint where one is given: weights, optimizer state and the place
  // in the data are its own. Throws Error where it is of other rows or another model.
  explicit Session(const RunConfig& config, const Checkpoint* from = nullptr);

  const RunConfig& config() const { return config_; }
  model::Llama& model() { return *model_; }
  const engine::Parameters& parameters() const { return parameters_; }
  const std::optional<eval::HellaSwag>& evaluation() const { return texts_.evaluation; }
  // `between` is called before each batch, and may throw to end the evaluation.
  eval::HellaSwagResult evaluate(const std::function<void()>& between = {}) const;

  // Bytes that stay for the whole run: the weights, and what the optimizer keeps.
  int64_t weight_bytes() const;
  int64_t optimizer_bytes() const;

  // Training and evaluation rows that data.on_bad_row = skip left out.
  int64_t skipped_rows() const { return texts_.skipped_rows; }

  int64_t total_steps() const;
  int64_t steps_per_epoch() const { return batches_.steps_per_epoch(); }
  // Trains on the next batch; `step` counts updates from 0. With `report_rounding`, the
  // result says what rounding to nearest would have lost. A GPU is still at work when it
  // returns.
  engine::PendingStep begin_step(int64_t step, bool report_rounding);
  c10::Device device() const { return device_; }
  // For a checkpoint: all but the trainer's own, which are step, progress and metrics.
  RunState state() const;
  double lr(int64_t step) const { return schedule_.at(step); }

 private:
  // What is left of texts once they are tokens.
  struct Texts {
    int64_t vocabulary = 0;
    int64_t skipped_rows = 0;
    std::vector<Example> examples;
    std::optional<eval::HellaSwag> evaluation;
  };
  static Texts read_texts(const RunConfig& config, const model::LlamaConfig& shape,
                          c10::Device device);

  RunConfig config_;
  c10::Device device_;
  model::LlamaConfig shape_;
  Texts texts_;
  std::string rows_;        // fingerprint of the examples
  std::string shape_name_;  // fingerprint of config.json
  Batches batches_;
  optim::Schedule schedule_;
  std::unique_ptr<model::Llama> model_;
  engine::Parameters parameters_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::unique_ptr<engine::Activations> activations_;
  std::unique_ptr<engine::Weights> weights_;
  std::unique_ptr<engine::Gradients> gradients_;
  engine::Step step_;

  // Tokens that an evaluation may take at once without exceeding what training needs.
  int64_t evaluation_tokens() const;
};

}  // namespace lowmem::train

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "lowmem/config/run_config.h"
#include "lowmem/data/batches.h"
#include "lowmem/engine/step.h"
#include "lowmem/optim/schedule.h"
#include "lowmem/train/checkpoint.h"
#include "lowmem/train/out_of_memory.h"
#include "lowmem/train/texts.h"
#include "lowmem/weights/hf_folder.h"
#include "lowmem/weights/rank_budget.h"

namespace lowmem::train {

// What a run reads before its weights: what can be known of it without them.
struct Inputs {
  c10::Device device = c10::kCPU;
  model::Config shape;
  std::shared_ptr<const Texts> texts;
};

// Opens the device, and reads config.json and all texts. Throws Error naming what is
// wrong.
Inputs read_inputs(const RunConfig& config);

// The order in which a run takes its examples.
Batches order_of(const RunConfig& config, const Texts& texts);
// Updates from the first to the last.
int64_t total_steps(const TrainConfig& train, int64_t steps_per_epoch);

// Where the run computes: a GPU, opened and measured from here on, or the CPU. Before any
// tensor is made. Throws Error where the configuration asks for what is not there.
c10::Device open_device(const MemoryConfig& memory);

// A model, its weights, and where they live.
struct HousedModel {
  std::shared_ptr<weights::Table> table;
  std::unique_ptr<weights::Home> home;
  std::unique_ptr<model::Llama> model;

  engine::Walk walk() const { return {*model, *home}; }
};

// The model that the configuration names, of the given shape, with what it trains
// selected; room for its weights, no numbers. Throws Error naming what is wrong.
HousedModel house_model(const RunConfig& config, const model::Config& shape,
                        c10::Device device);

// Fills the weights, or those that are `wanted`, from model.path.
weights::Loaded load_weights(
    const RunConfig& config, weights::Home& home,
    const std::function<bool(const weights::Weight&)>& wanted = {});

// Of evaluations: in slices of the vocabulary whatever memory.linear_cross_entropy says,
// since whole logits of four endings could outweigh training.
inline loss::LossOptions sliced_loss(c10::Device device) {
  return device.is_cpu() ? loss::LossOptions{} : loss::kDeviceLoss;
}

// Everything a training run works with, built from its configuration and inputs. In a
// rehearsal no weight is read, and the CPU stands in for a GPU.
class Session {
 public:
  // Goes on from a checkpoint where one is given: weights, optimizer state and the place
  // in the data are its own. Throws Error where it is of other rows or another model.
  Session(const RunConfig& config, const Inputs& inputs,
          const Checkpoint* from = nullptr);

  const RunConfig& config() const { return config_; }
  const model::Config& shape() const { return shape_; }
  const weights::Table& table() const { return *house_.table; }
  weights::Home& home() { return *house_.home; }
  const std::optional<Evaluation>& evaluation() const { return texts_->evaluation; }
  // `between` is called before each batch, and may throw to end the evaluation.
  EvaluationResult evaluate(const std::function<void()>& between = {}) const;
  // Its batches that need most memory, for a rehearsal.
  void rehearse_evaluation() const;
  // Tokens that an evaluation may take at once without exceeding what training needs.
  int64_t evaluation_tokens() const;

  // Of these, what is in memory for the whole run.
  Resident resident() const {
    const auto [weights, states] = house_.home->here();
    return {weights, states};
  }
  // With where things live, and what is taken of the disk.
  weights::Traffic traffic() const {
    return house_.home->traffic() + activations_->traffic();
  }
  int64_t disk_bytes() const {
    return house_.home->disk_bytes() + activations_->disk_bytes();
  }
  // Bytes of the weights, and of what the optimizer keeps, wherever they live.
  int64_t weight_bytes() const { return house_.table->bytes(); }
  int64_t optimizer_bytes() const { return house_.table->beside_bytes(); }

  // Training and evaluation rows that data.on_bad_row = skip left out.
  int64_t skipped_rows() const { return texts_->skipped_rows; }

  // How its chats were written; nullopt where no training row is one.
  const std::optional<ChatUse>& chat() const { return texts_->chat; }
  // Sequences of an epoch.
  int64_t examples() const { return static_cast<int64_t>(texts_->examples.size()); }

  int64_t total_steps() const;
  int64_t steps_per_epoch() const { return batches_.steps_per_epoch(); }
  // Trains on the next batch; `step` counts updates from 0. With `report_rounding`, the
  // result says what rounding to nearest would have lost. A GPU is still at work when it
  // returns.
  engine::PendingStep begin_step(int64_t step, bool report_rounding);
  // The same on these examples, wherever the order stands.
  engine::PendingStep begin(std::span<const int64_t> rows, int64_t step,
                            bool report_rounding);
  c10::Device device() const { return device_; }
  // For a checkpoint: all but the trainer's own, which are step, progress and metrics,
  // and what it does not hold.
  RunState state() const;
  // Of the weights that are not trained: weights::frozen_fingerprint(), made once.
  const std::string& frozen_fingerprint();
  double lr(int64_t step) const { return schedule_.at(step); }

 private:
  RunConfig config_;
  c10::Device device_;
  model::Config shape_;
  std::shared_ptr<const Texts> texts_;
  Batches batches_;
  optim::Schedule schedule_;
  HousedModel house_;
  engine::Walk walk_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::unique_ptr<weights::RankBudget> budget_;  // of AdaLoRA, or null
  engine::Gradients gradients_;
  std::unique_ptr<engine::Activations> activations_;
  engine::Step step_;
  std::string frozen_;  // weights::frozen_fingerprint()

  void prepare();
  void go_on(const Checkpoint& from);
  std::string shape_fingerprint() const;
};

}  // namespace lowmem::train

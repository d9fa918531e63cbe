#include "lowmem/train/session.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "lowmem/config/validate.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/log.h"
#include "lowmem/core/units.h"
#include "lowmem/io/checksum.h"
#include "lowmem/kernels/device_memory.h"
#include "lowmem/memory/limits.h"
#include "lowmem/memory/meter.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/ops/cuda.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/ops/parallel.h"
#include "lowmem/train/collate.h"
#include "lowmem/train/disk.h"
#include "lowmem/train/exported.h"
#include "lowmem/train/out_of_memory.h"
#include "lowmem/weights/adapter_start.h"
#include "lowmem/weights/hf_folder.h"
#include "lowmem/weights/quantized.h"
#include "lowmem/weights/selection.h"
#include "untrained.h"

namespace lowmem::train {
namespace {

using ops::scalar_type;

// Rows are looked at one by one: none may hold an id beyond the embedding table.
void tell_of_foreign_ids(const std::string& path, int64_t vocabulary, int64_t rows) {
  if (vocabulary > rows)
    log::info(path + " has a tokenizer with ids up to " + std::to_string(vocabulary - 1) +
              ", and config.json's vocab_size is " + std::to_string(rows) +
              ": rows with others are refused");
}

// Tokens that see one another in training; 0: all of a sequence.
int64_t span_group(const ModelConfig& model) {
  return model.attention_span == AttentionSpan::kShifted ? model.span_group : 0;
}

// That the model's heads can be halved.
void check_span(const ModelConfig& config, const model::Config& shape) {
  if (span_group(config) == 0) return;
  const char* key = "model.attention_span = shifted";
  if (shape.num_key_value_heads % 2 != 0)
    throw Error(key,
                "gives each half of the heads groups of its own, but " + config.path +
                    " has " + format_count(shape.num_key_value_heads, "head") +
                    " of keys, which cannot be halved",
                "Set model.attention_span = full");
  if (shape.sliding_window > 0)
    throw Error(key,
                "and the model's own window, sliding_window in " + config.path +
                    "/config.json, say two things of what a token sees",
                "Set model.attention_span = full");
}

void warn_of_short_rows(const RunConfig& config, const Texts& texts) {
  const int64_t group = span_group(config.model);
  int64_t longest = 0;
  for (const Example& example : texts.examples)
    longest = std::max(longest, tokens_read(example));
  if (group == 0 || longest > group) return;
  log::warn("model.attention_span = shifted: no row is longer than model.span_group = " +
            format_count(group) + ", the longest has " + format_count(longest, "token") +
            (longest > group / 2 ? ": only the shifted half of the heads sees less"
                                 : ": every token sees all of its row"));
}

// Tokens of a micro-batch on a GPU are a multiple of it: few shapes, so that graphs come
// again and memory does not scatter.
constexpr int64_t kTokenMultiple = 128;

// Equal for equal JSON.
std::string fingerprint(const std::filesystem::path& json) {
  const std::string text = read_json(json).dump();
  Checksum checksum;
  checksum.add(std::as_bytes(std::span(text)));
  return hexadecimal(checksum.value());
}

weights::HomeSetup home_setup(const RunConfig& config, c10::Device device) {
  const MemoryConfig& memory = config.memory;
  return {.weights = memory.weights,
          .states = memory.states,
          .device = device,
          .scratch = scratch_folder(config),
          .ahead = memory.ahead,
          .resident_blocks = memory.resident_blocks};
}

void select_trained(const RunConfig& config, weights::Table& table) {
  weights::select(
      table, [&](const weights::Spec& spec) { return weights::trains(config, spec); });
  for (weights::Weight& weight : table.all())
    if (weight.trained && makes_adapter(config))
      weight.lr_ratio = weights::lr_ratio(config.adapter, weight.spec);
}

// Room for the weights.
HousedModel make_room(const RunConfig& config, const model::Config& shape,
                      c10::Device device) {
  const MemoryConfig& memory = config.memory;
  for (const auto& [host, key] :
       {std::pair{memory.weights == WeightsMode::kHost, "memory.weights"},
        std::pair{memory.states == StatesMode::kHost, "memory.states"},
        std::pair{memory.kept == KeptMode::kHost, "memory.kept"}})
    if (host && device.is_cpu())
      throw Error(std::string(key) + " = host",
                  "is for a GPU: on a CPU everything is in the host's memory",
                  "Leave it out, or write disk");
  if (!device.is_cpu() && memory.kept == KeptMode::kDisk && !memory.activations.count &&
      memory.activations.word == ActivationsMode::kKeep)
    throw Error(
        "memory.kept = disk",
        "is on a GPU for the inputs of blocks that are run again, but "
        "memory.activations = keep runs none",
        "Set memory.activations = recompute or a number, or leave memory.kept out");
  if (!device.is_cpu() && config.adapter.kind == AdapterKind::kAdalora)
    throw Error("adapter.kind = adalora", "is not there on a GPU yet",
                "Choose lora or dora, or set memory.device = cpu");
  if (config.memory.resident_blocks > shape.num_hidden_layers)
    throw Error(
        "memory.resident_blocks = " + std::to_string(config.memory.resident_blocks),
        "is more than the model's " + std::to_string(shape.num_hidden_layers) + " blocks",
        "Write at most that, or memory.weights = resident");
  const bool stands_in = memory::rehearsed_gpu() != nullptr;
  const bool math = config.memory.attention == AttentionMode::kMath;
  model::ModelOptions options{
      scalar_type(config.model.dtype), scalar_type(config.model.compute_dtype),
      stands_in ? c10::Device(c10::kCPU) : device,
      stands_in && !math ? AttentionMode::kAuto : config.memory.attention};
  for (const weights::AdapterLayer& layer :
       weights::adapter_layers(model::weight_specs(shape), config.adapter))
    options.adapted[layer.module] = layer;
  HousedModel house;
  house.table =
      std::make_shared<weights::Table>(weight_specs(config, shape), config.model.dtype);
  select_trained(config, *house.table);
  const weights::HomeSetup setup = home_setup(config, options.device);
  try {
    house.home = weights::make_home(setup, *house.table);
    if (config.memory.uses_disk() && !memory::rehearsing()) warn_of_memory(setup.scratch);
  } catch (const std::exception& failure) {
    if (memory::rehearsing() || memory::asked_of(failure).empty()) throw;
    if (const auto limit = too_tight_a_limit(failure)) throw *limit;
    if (const auto host = host_exhausted(failure)) throw *host;
    throw Error(config.model.path,
                "has weights of " + format_bytes(house.table->bytes()) + " in " +
                    std::string(word_of(config.model.dtype)) + ", which do not fit the " +
                    format_bytes(memory::total_bytes()) + " of " +
                    (device.is_cpu() ? "memory" : "the GPU"),
                config.model.dtype == DType::kF32
                    ? "Set model.dtype = bf16 with model.compute_dtype = bf16"
                    : "Use a smaller model");
  }
  house.model = std::make_unique<model::Llama>(shape, options, house.table);
  return house;
}

}  // namespace

Batches order_of(const RunConfig& config, const Texts& texts) {
  return {static_cast<int64_t>(texts.examples.size()), config.train.batch_size,
          config.data.shuffle, static_cast<uint64_t>(config.run.seed)};
}

int64_t total_steps(const TrainConfig& train, int64_t steps_per_epoch) {
  const int64_t by_epochs = train.epochs * steps_per_epoch;
  return train.max_steps > 0 ? std::min(by_epochs, train.max_steps) : by_epochs;
}

c10::Device open_device(const MemoryConfig& memory) {
  ops::settle_threads();
  lowmem::memory::require_reserve();
  const bool gpu = memory.device == DeviceMode::kCuda ||
                   (memory.device == DeviceMode::kAuto && ops::has_gpu());
  if (!gpu) return c10::kCPU;
  const c10::Device device = ops::open_gpu();
  memory::measure(device);
  const auto [used, total] = kernels::cuda_device_memory(device.index());
  log::info("on a GPU of " + format_bytes(total) + ", " + format_bytes(total - used) +
            " of them free");
  return device;
}

HousedModel house_model(const RunConfig& config, const model::Config& shape,
                        c10::Device device) {
  const memory::Scope scope(memory::Phase::kLoad, memory::Item::kWeights);
  if (!makes_adapter(config))
    weights::check_selection(model::weight_specs(shape), config.model.train);
  ops::check_attention(config.memory.attention,
                       {device, scalar_type(config.model.compute_dtype), shape.head_dim,
                        shape.sliding_window > 0});
  HousedModel house = make_room(config, shape, device);
  select_trained(config, *house.table);  // now that its tensors are there
  return house;
}

weights::Loaded load_weights(const RunConfig& config, weights::Home& home,
                             const std::function<bool(const weights::Weight&)>& wanted) {
  const memory::Scope scope(memory::Phase::kLoad, memory::Item::kWeights);
  weights::Loaded loaded = weights::load(home, config.model.path, wanted);
  int64_t count = 0;
  for (const weights::Weight& weight : home.table().all())
    if (!weight.spec.adapter && weight.spec.part == 0 && (!wanted || wanted(weight)))
      count += weight.spec.stored == Stored::kPlain
                   ? weight.spec.elements()
                   : weights::matrix_spec(weight.spec).elements();
  log::info("loaded " + config.model.path + ": " + format_count(count) + " parameters");
  return loaded;
}

namespace {

void warn_of_length(const RunConfig& config, const Texts& texts) {
  const int64_t steps =
      total_steps(config.train, order_of(config, texts).steps_per_epoch());
  if (steps > 0 && config.train.max_steps > steps)
    log::warn("train.max_steps = " + format_count(config.train.max_steps) +
              " is not reached: train.epochs = " + format_count(config.train.epochs) +
              " end after " + format_count(steps, "step"));
  if (steps > 0 && config.optimizer.warmup_steps >= steps)
    log::warn("optimizer.warmup_steps = " + format_count(config.optimizer.warmup_steps) +
              ", and the run has " + format_count(steps, "step") +
              ": the learning rate does not reach optimizer.lr");
}

}  // namespace

Inputs read_inputs(const RunConfig& config) {
  Inputs inputs{open_device(config.memory), model::read_model_config(config.model.path),
                nullptr};
  check_span(config.model, inputs.shape);
  inputs.texts = std::make_shared<Texts>(read_texts(config, inputs.shape, inputs.device));
  tell_of_foreign_ids(config.model.path, inputs.texts->vocabulary,
                      inputs.shape.vocab_size);
  warn_of_length(config, *inputs.texts);
  warn_of_short_rows(config, *inputs.texts);
  check_rank_schedule(
      config.adapter,
      total_steps(config.train, order_of(config, *inputs.texts).steps_per_epoch()));
  memory::require_reserve();
  return inputs;
}

Session::Session(const RunConfig& config, const Inputs& inputs, const Checkpoint* from)
    : config_(config),
      device_(inputs.device),
      shape_(inputs.shape),
      texts_(inputs.texts),
      batches_(order_of(config, *texts_)),
      schedule_(config.optimizer, total_steps()),
      house_(house_model(config, shape_, device_)),
      walk_(house_.walk()),
      optimizer_(optim::make_optimizer(config.optimizer,
                                       static_cast<uint64_t>(config.run.seed))),
      budget_(config.adapter.kind == AdapterKind::kAdalora
                  ? std::make_unique<weights::RankBudget>(*house_.table, config.adapter,
                                                          total_steps())
                  : nullptr),
      gradients_(config.memory.gradients, *optimizer_, *house_.home,
                 config.optimizer.clip_norm, budget_.get()),
      activations_(engine::make_activations(
          config.memory.activations,
          {.blocks = walk_.blocks(),
           .kept = config.memory.kept,
           .device = house_.model->device(),
           .scratch = scratch_folder(config),
           .ahead = config.memory.ahead,
           // A graph has the addresses of the weights that it was recorded with, and the
           // step's number in the draws of dropout.
           .graphs = house_.model->device().is_cpu() || config.memory.moves() ||
                             span_group(config.model) > 0 || config.adapter.dropout > 0
                         ? GraphsMode::kFalse
                         : config.memory.cuda_graphs,
           .hooks_replay = gradients_.replays()})),
      step_(walk_, *activations_, gradients_,
            config.memory.linear_cross_entropy ? sliced_loss(device_)
                                               : loss::LossOptions{.chunked = false}) {
  if (from != nullptr) {
    go_on(*from);
    return;
  }
  if (!memory::rehearsing()) {
    warn_of_zeros(config_, load_weights(config_, home()));
    warn_of_unlearned_tokens(config_, *house_.model, home(), *texts_);
    begin_adapter(config_, home());
    if (makes_adapter(config_) && config_.adapter.path.empty() &&
        weights::starts_as_nothing(config_.adapter))
      warn_of_zero_adapter(config_);
  } else {
    rehearse_adapter(config_, home());
  }
  prepare();
  if (budget_ && !memory::rehearsing()) budget_->begin();
}

void Session::prepare() {
  const memory::Scope phase(memory::Phase::kUpdate);
  try {
    home().make_states([this](const weights::Weight& weight) {
      auto states = optimizer_->states_of(weight);
      if (budget_)
        for (auto& state : budget_->states_of(weight)) states.push_back(std::move(state));
      return states;
    });
  } catch (const std::exception& failure) {
    if (memory::rehearsing() || memory::asked_of(failure).empty()) throw;
    throw out_of_memory(config_, resident(), failure);
  }
}

void Session::go_on(const Checkpoint& from) {
  if (from.state.rows != texts_->fingerprint)
    throw Error("data.train", "holds other rows than when the run began",
                "Give the files, the tokenizer and the data settings of then, or begin "
                "another run");
  if (from.state.shape != shape_fingerprint())
    throw Error(config_.model.path + "/config.json",
                "differs from the one that the run began with",
                "Give the model folder of then, or begin another run");
  const std::string device = state().device;
  if (from.state.device != device)
    log::warn("goes on on another device, " + device + " after " + from.state.device +
              ": the result will differ in its last bits");
  if (const std::string other = differences(from.state.arithmetic, arithmetic());
      !other.empty())
    log::warn("goes on with " + other +
              ": the last bits of the result may differ from those of a run without a "
              "break");
  const std::set<std::string> held = weights_in(from);
  const auto missing = [&](const weights::Weight& weight) {
    return !held.contains(weight.name());
  };
  const auto& all = house_.table->all();
  if (std::any_of(all.begin(), all.end(), missing))
    load_weights(config_, home(), missing);
  take_again(config_, home());
  restore_weights(from, home());
  if (!from.state.frozen.empty() && from.state.frozen != frozen_fingerprint())
    throw Error(config_.model.path,
                "holds other weights than when the run began, of those that it does not "
                "train and so keeps in no checkpoint",
                "Give the model folder of then, or begin another run");
  prepare();
  restore_states(from, home());
  batches_.seek(from.state.cursor);
}

const std::string& Session::frozen_fingerprint() {
  if (frozen_.empty()) frozen_ = weights::frozen_fingerprint(home());
  return frozen_;
}

std::string Session::shape_fingerprint() const {
  return fingerprint(std::filesystem::path(config_.model.path) / "config.json");
}

RunState Session::state() const {
  RunState state;
  state.cursor = batches_.cursor();
  state.config = config_;
  state.rows = texts_->fingerprint;
  state.shape = shape_fingerprint();
  state.device = c10::DeviceTypeName(device_.type(), /*lower_case=*/true);
  state.arithmetic = arithmetic();
  return state;
}

int64_t Session::total_steps() const {
  return train::total_steps(config_.train, batches_.steps_per_epoch());
}

EvaluationResult Session::evaluate(const std::function<void()>& between) const {
  return texts_->evaluation->run(walk_, sliced_loss(device_), evaluation_tokens(),
                                 between);
}

void Session::rehearse_evaluation() const {
  texts_->evaluation->rehearse(walk_, sliced_loss(device_), evaluation_tokens());
}

int64_t Session::evaluation_tokens() const {
  const auto element =
      static_cast<int64_t>(at::elementSize(house_.model->options().stream()));
  // Training holds at least one block's gradient beside a batch's activations, whatever
  // the policies, and wherever weights live: the last bits of a score depend on the
  // tokens that it was made with.
  int64_t gradient = 0;
  for (const weights::Weight& weight : house_.table->all())
    if (weight.trained && weight.spec.group > 0 &&
        weight.spec.group < house_.table->top())
      gradient = std::max(gradient, weight.bytes());
  // Evaluation holds gate and up, and a few tensors of the hidden size.
  const int64_t a_token =
      element * (2 * shape_.intermediate_size + 8 * shape_.hidden_size);
  int64_t tokens = 0;
  for (const Example& example : texts_->examples)
    tokens += static_cast<int64_t>(example.ids.size());
  const auto examples = static_cast<int64_t>(texts_->examples.size());
  const int64_t part = config_.train.micro_batch_size;
  const int64_t rows = std::min(part > 0 ? part : config_.train.batch_size, examples);
  const double a_batch = static_cast<double>(tokens) * static_cast<double>(rows) /
                         static_cast<double>(examples);
  return std::max(static_cast<int64_t>(a_batch), gradient / a_token);
}

engine::PendingStep Session::begin_step(int64_t step, bool report_rounding) {
  return begin(batches_.next(), step, report_rounding);
}

engine::PendingStep Session::begin(std::span<const int64_t> rows, int64_t step,
                                   bool report_rounding) {
  std::vector<const Example*> examples;
  for (const int64_t row : rows)
    examples.push_back(&texts_->examples[static_cast<size_t>(row)]);
  std::optional<model::Draw> draw;
  if (config_.adapter.dropout > 0)
    draw = model::Draw{
        static_cast<uint64_t>(config_.run.seed), static_cast<uint32_t>(step), {}};
  return step_.begin(
      collate(*house_.model, examples, config_.train.micro_batch_size,
              device_.is_cpu() ? 0 : kTokenMultiple, draw, span_group(config_.model)),
      {step, schedule_.at(step), 1, report_rounding});
}

}  // namespace lowmem::train

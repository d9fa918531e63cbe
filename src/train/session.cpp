#include "lowmem/train/session.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/log.h"
#include "lowmem/core/units.h"
#include "lowmem/data/hellaswag.h"
#include "lowmem/engine/memory_meter.h"
#include "lowmem/io/checksum.h"
#include "lowmem/kernels/device_memory.h"
#include "lowmem/model/hf_weights.h"
#include "lowmem/ops/cuda.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/train/collate.h"
#include "lowmem/train/out_of_memory.h"

namespace lowmem::train {
namespace {

using ops::scalar_type;

// Ids beyond the embedding table would read past its end.
void check_vocabulary(const std::string& path, int64_t vocabulary, int64_t rows) {
  if (vocabulary > rows)
    throw Error(path,
                "has a tokenizer with ids up to " + std::to_string(vocabulary - 1) +
                    ", but config.json's vocab_size is " + std::to_string(rows),
                "Check that the tokenizer and the weights belong together");
}

// Tokens of a micro-batch on a GPU are a multiple of it: few shapes, so that graphs come
// again and memory does not scatter.
constexpr int64_t kTokenMultiple = 128;

bool bos_of(BosMode mode, const Tokenizer& tokenizer) {
  if (mode == BosMode::kTokenizer) return tokenizer.adds_bos();
  return mode == BosMode::kTrue;
}

// The file's rows; bad ones are an Error or left out, counted in `skipped` and reported.
std::vector<HellaSwagRow> read_rows(const RunConfig& config, const std::string& path,
                                    int64_t limit, int64_t& skipped) {
  if (config.data.on_bad_row == BadRowMode::kStop) return read_hellaswag(path, limit);
  BadRows bad;
  auto rows = read_hellaswag(path, limit, &bad);
  skipped += bad.count;
  if (bad.count > 0)
    log::warn(path + ": " + format_count(bad.count) +
              " bad rows are left out; the first: " + bad.first);
  return rows;
}

std::vector<Example> load_examples(const RunConfig& config,
                                   const model::LlamaConfig& shape,
                                   const Tokenizer& tokenizer, int64_t& skipped) {
  const int64_t max_length =
      std::min(config.data.max_length, shape.max_position_embeddings);
  std::vector<Example> examples;
  ExampleCounts counts;
  int64_t read = 0;
  for (const std::string& path : config.data.train) {
    if (config.data.limit != 0 && read == config.data.limit) break;
    const auto rows = read_rows(
        config, path, config.data.limit == 0 ? 0 : config.data.limit - read, skipped);
    read += static_cast<int64_t>(rows.size());
    auto more = hellaswag_examples(rows, tokenizer, max_length, counts);
    std::move(more.begin(), more.end(), std::back_inserter(examples));
  }
  log::info("read " + format_count(static_cast<int64_t>(examples.size())) +
            " training rows, " + format_count(counts.truncated) + " of them cut at " +
            std::to_string(max_length) + " tokens");
  if (counts.dropped > 0)
    log::warn(format_count(counts.dropped) + " rows have nothing left to learn after " +
              std::to_string(max_length) +
              " tokens and are left out; a larger data.max_length keeps them");
  if (examples.empty())
    throw Error("data.train", "has no row to train on",
                "Give a file with rows, or a larger data.max_length");
  return examples;
}

// Equal for equal tokens and labels in equal order.
std::string fingerprint(const std::vector<Example>& examples) {
  Checksum checksum;
  for (const Example& example : examples) {
    const auto tokens = static_cast<int64_t>(example.ids.size());
    checksum.add(std::as_bytes(std::span(&tokens, 1)));
    checksum.add(std::as_bytes(std::span(example.ids)));
    checksum.add(std::as_bytes(std::span(example.labels)));
  }
  return hexadecimal(checksum.value());
}

// Equal for equal JSON.
std::string fingerprint(const std::filesystem::path& json) {
  const std::string text = read_json(json).dump();
  Checksum checksum;
  checksum.add(std::as_bytes(std::span(text)));
  return hexadecimal(checksum.value());
}

// Room for the weights.
std::unique_ptr<model::Llama> make_model(const RunConfig& config,
                                         const model::LlamaConfig& shape,
                                         c10::Device device) {
  const at::ScalarType dtype = scalar_type(config.model.dtype);
  try {
    return std::make_unique<model::Llama>(
        shape, model::ModelOptions{dtype, scalar_type(config.model.compute_dtype), device,
                                   config.memory.attention});
  } catch (const std::exception& failure) {
    if (asked_of(failure).empty()) throw;
    const auto bytes =
        model::parameter_count(shape) * static_cast<int64_t>(c10::elementSize(dtype));
    throw Error(config.model.path,
                "has weights of " + format_bytes(bytes) + " in " +
                    std::string(word_of(config.model.dtype)) + ", which do not fit the " +
                    format_bytes(engine::memory_meter::total_bytes()) + " of " +
                    (device.is_cpu() ? "memory" : "the GPU"),
                config.model.dtype == DType::kF32
                    ? "Set model.dtype = bf16 with model.compute_dtype = bf16"
                    : "Use a smaller model");
  }
}

}  // namespace

c10::Device open_device(const MemoryConfig& memory) {
  const bool gpu = memory.device == DeviceMode::kCuda ||
                   (memory.device == DeviceMode::kAuto && ops::has_gpu());
  if (!gpu) return c10::kCPU;
  const c10::Device device = ops::open_gpu();
  engine::memory_meter::measure(device);
  const auto [used, total] = kernels::cuda_device_memory(device.index());
  log::info("on a GPU of " + format_bytes(total) + ", " + format_bytes(total - used) +
            " of them free");
  return device;
}

std::unique_ptr<model::Llama> load_model(const RunConfig& config,
                                         const model::LlamaConfig& shape,
                                         int64_t vocabulary, c10::Device device,
                                         bool with_weights) {
  const engine::PhaseScope phase(engine::Phase::kLoad);
  check_vocabulary(config.model.path, vocabulary, shape.vocab_size);
  engine::check_trained(shape, config.model.train);
  ops::check_attention(config.memory.attention,
                       {device, scalar_type(config.model.compute_dtype), shape.head_dim});
  if (with_weights) model::check_weights(shape, config.model.path);
  auto llama = make_model(config, shape, device);
  if (!with_weights) return llama;
  model::load_weights(*llama, config.model.path);
  log::info("loaded " + config.model.path + ": " +
            format_count(model::parameter_count(shape)) + " parameters");
  return llama;
}

std::optional<eval::HellaSwag> make_evaluation(const RunConfig& config,
                                               const model::LlamaConfig& shape,
                                               const Tokenizer& tokenizer,
                                               c10::Device device,
                                               int64_t& skipped_rows) {
  if (config.eval.data.empty()) return std::nullopt;
  // Flash attention takes four texts at once, and no masks.
  const bool share = config.eval.share_query && device.is_cpu();
  return eval::HellaSwag(
      read_rows(config, config.eval.data, config.eval.limit, skipped_rows), tokenizer,
      bos_of(config.eval.bos, tokenizer), config.eval.batch_size,
      shape.max_position_embeddings, share);
}

Session::Texts Session::read_texts(const RunConfig& config,
                                   const model::LlamaConfig& shape, c10::Device device) {
  Texts texts;
  {
    const auto tokenizer = open_tokenizer(config.model.path);
    texts.vocabulary = tokenizer->vocab_size();
    texts.examples = load_examples(config, shape, *tokenizer, texts.skipped_rows);
    texts.evaluation =
        make_evaluation(config, shape, *tokenizer, device, texts.skipped_rows);
  }
  // A tokenizer of 128,000 words takes 200 MiB while it is read.
  engine::memory_meter::return_free_memory();
  return texts;
}

Session::Session(const RunConfig& config, const Checkpoint* from)
    : config_(config),
      device_(open_device(config.memory)),
      shape_(model::read_llama_config(config.model.path)),
      texts_(read_texts(config, shape_, device_)),
      rows_(fingerprint(texts_.examples)),
      shape_name_(fingerprint(std::filesystem::path(config.model.path) / "config.json")),
      batches_(static_cast<int64_t>(texts_.examples.size()), config.train.batch_size,
               config.data.shuffle, static_cast<uint64_t>(config.run.seed)),
      schedule_(config.optimizer, total_steps()),
      model_(load_model(config, shape_, texts_.vocabulary, device_, from == nullptr)),
      parameters_(*model_, config.model.train),
      optimizer_(optim::make_optimizer(config.optimizer,
                                       static_cast<uint64_t>(config.run.seed))),
      activations_(engine::make_activations(
          config.memory.activations,
          device_.is_cpu() ? GraphsMode::kFalse : config.memory.cuda_graphs)),
      weights_(engine::make_weights(config.memory.weights)),
      gradients_(engine::make_gradients(config.memory.gradients, *optimizer_,
                                        config.optimizer.clip_norm)),
      step_(*model_, parameters_, *activations_, *weights_, *gradients_,
            config.memory.linear_cross_entropy ? sliced_loss(device_)
                                               : loss::LossOptions{.chunked = false}) {
  if (from != nullptr) {
    if (from->state.rows != rows_)
      throw Error("data.train", "holds other rows than when the run began",
                  "Give the files, the tokenizer and the data settings of then, or begin "
                  "another run");
    if (from->state.shape != shape_name_)
      throw Error(config.model.path + "/config.json",
                  "differs from the one that the run began with",
                  "Give the model folder of then, or begin another run");
    const std::string device = state().device;
    if (from->state.device != device)
      log::warn("goes on on another device, " + device + " after " + from->state.device +
                ": the result will differ in its last bits");
    const engine::PhaseScope phase(engine::Phase::kLoad);
    restore(*from, *model_, parameters_);
    batches_.seek(from->state.cursor);
  }
  log::info("training " + format_count(parameters_.elements()) + " parameters for " +
            format_count(total_steps()) + " steps");
}

RunState Session::state() const {
  RunState state;
  state.cursor = batches_.cursor();
  state.config = config_;
  state.rows = rows_;
  state.shape = shape_name_;
  state.device = c10::DeviceTypeName(device_.type(), /*lower_case=*/true);
  return state;
}

int64_t Session::weight_bytes() const {
  int64_t bytes = 0;
  for (const at::Tensor& weight : model_->parameters())
    bytes += static_cast<int64_t>(weight.nbytes());
  return bytes;
}

int64_t Session::optimizer_bytes() const {
  int64_t bytes = 0;
  for (const optim::ParamSlot& slot : parameters_.slots())
    bytes += optimizer_->state_bytes(slot.param);
  return bytes;
}

int64_t Session::total_steps() const {
  const int64_t by_epochs = config_.train.epochs * batches_.steps_per_epoch();
  return config_.train.max_steps > 0 ? std::min(by_epochs, config_.train.max_steps)
                                     : by_epochs;
}

eval::HellaSwagResult Session::evaluate(const std::function<void()>& between) const {
  return texts_.evaluation->run(*model_, sliced_loss(device_), evaluation_tokens(),
                                between);
}

int64_t Session::evaluation_tokens() const {
  const auto element = static_cast<int64_t>(at::elementSize(model_->options().stream()));
  // Training holds a gradient, or all, beside a batch's activations.
  int64_t largest = 0, all = 0;
  for (const optim::ParamSlot& slot : parameters_.slots()) {
    const auto bytes = static_cast<int64_t>(slot.param.nbytes());
    largest = std::max(largest, bytes);
    all += bytes;
  }
  const int64_t gradients =
      config_.memory.gradients == GradientsMode::kUpdate ? largest : all;
  // Evaluation holds gate and up, and a few tensors of the hidden size.
  const int64_t a_token =
      element * (2 * shape_.intermediate_size + 8 * shape_.hidden_size);
  int64_t tokens = 0;
  for (const Example& example : texts_.examples)
    tokens += static_cast<int64_t>(example.ids.size());
  const int64_t a_batch =
      config_.train.batch_size * tokens / static_cast<int64_t>(texts_.examples.size());
  return std::max(a_batch, gradients / a_token);
}

engine::PendingStep Session::begin_step(int64_t step, bool report_rounding) {
  std::vector<const Example*> examples;
  for (const int64_t index : batches_.next())
    examples.push_back(&texts_.examples[static_cast<size_t>(index)]);
  return step_.begin(collate(*model_, examples, config_.train.micro_batch_size,
                             device_.is_cpu() ? 0 : kTokenMultiple),
                     {step, schedule_.at(step), 1, report_rounding});
}

}  // namespace lowmem::train

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "lowmem/config/rules.h"
#include "lowmem/core/units.h"
#include "lowmem/io/direct_file.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/train/disk.h"
#include "lowmem/train/exported.h"
#include "lowmem/train/plan.h"
#include "lowmem/weights/selection.h"

namespace lowmem::train {
namespace {

// Of a GPU's kind: enough to compare settings with.
constexpr Speed kLikeAGpu{.operations = 2e14, .bytes = 2e12, .host = 25e9};

// Calls `work`, which does `amount`, for a while; returns the median amount a second.
template <class F>
double speed(double amount, F&& work) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration time) {
    return std::chrono::duration<double>(time).count();
  };
  work();  // first use compiles or selects a kernel
  std::vector<double> speeds;
  for (const auto start = Clock::now(); seconds(Clock::now() - start) < 0.1;) {
    const auto before = Clock::now();
    work();
    speeds.push_back(amount / std::max(1e-9, seconds(Clock::now() - before)));
  }
  const auto middle = speeds.begin() + static_cast<std::ptrdiff_t>(speeds.size() / 2);
  std::nth_element(speeds.begin(), middle, speeds.end());
  return *middle;
}

// Floating-point operations a second in a product of a batch by a wide weight.
double product_speed(const RunConfig& config, const Inputs& inputs, const Work& work) {
  constexpr int64_t kMostRows = 1024, kMostColumns = 4096;
  const int64_t rows = std::clamp<int64_t>(work.largest_tokens, 1, kMostRows);
  const int64_t inner = std::min(inputs.shape.hidden_size, kMostColumns);
  const int64_t columns = std::min(inputs.shape.intermediate_size, kMostColumns);
  const at::ScalarType type = ops::scalar_type(config.model.compute_dtype);
  const at::Tensor x = at::ones({rows, inner}, type);
  const at::Tensor weight = at::ones({columns, inner}, type);
  return speed(2.0 * static_cast<double>(rows * inner * columns),
               [&] { at::linear(x, weight); });
}

// Bytes a second, read or written.
double memory_speed() {
  constexpr int64_t kBytes = 16 * kMiB;
  const at::Tensor from = at::zeros({kBytes}, at::kByte);
  at::Tensor to = at::zeros({kBytes}, at::kByte);
  return speed(2.0 * kBytes, [&] { to.copy_(from); });
}

}  // namespace

double disk_speed(const RunConfig& config) {
  constexpr int64_t kBytes = 64 * kMiB;
  using Clock = std::chrono::steady_clock;
  const std::unique_ptr<void, decltype(&std::free)> memory(
      std::aligned_alloc(DirectFile::kAlignment, kBytes), &std::free);
  if (memory == nullptr) return 1e9;
  const std::span<std::byte> bytes(static_cast<std::byte*>(memory.get()), kBytes);
  std::fill(bytes.begin(), bytes.end(), std::byte{1});
  DirectFile file(scratch_folder(config));
  const int64_t offset = file.extend(kBytes);
  const auto before = Clock::now();
  file.wait(file.write(offset, bytes));
  file.wait(file.read(offset, bytes));
  return 2.0 * kBytes / std::chrono::duration<double>(Clock::now() - before).count();
}

double kept_share(OrCount<ActivationsMode> activations, const model::Config& shape) {
  if (!activations.count) return activations.word == ActivationsMode::kKeep ? 1 : 0;
  return static_cast<double>(*activations.count) /
         static_cast<double>(shape.num_hidden_layers);
}

namespace {

// Parts of a batch keep the machine less busy.
double slowness(int64_t micro_batch_size, const Work& work) {
  if (micro_batch_size == 0 || work.steps == 0) return 1;
  const double parts = static_cast<double>(work.examples) /
                       static_cast<double>(work.steps * micro_batch_size);
  return parts <= 1 ? 1 : 1 + 0.02 * parts;
}

}  // namespace

Speed measure_speed(const RunConfig& config, const Inputs& inputs, const Work& work) {
  // To time a GPU is to wait for it, and to take memory that the run's count would show.
  if (!inputs.device.is_cpu()) return kLikeAGpu;
  Speed found{.operations = product_speed(config, inputs, work), .bytes = memory_speed()};
  if (config.memory.uses_disk()) found.disk = disk_speed(config);
  return found;
}

namespace {

// What lives in one of the places that it comes from for its turn.
struct Lives {
  bool weights, states, kept;
};

// How often an update looks at a gradient that is made anew each time, by rows, and at
// the weight's rows with it; the last time it writes.
double looks(const RunConfig& config) {
  if (rule_of(config.optimizer.name).whole_matrix) return 3;
  return config.optimizer.clip_norm > 0 ? 1 : 2;  // its norm is known already
}

bool clips_in_a_pass(const RunConfig& config) {
  return config.optimizer.clip_norm > 0 &&
         config.memory.gradients == GradientsMode::kUpdate;
}

// Bytes of it that a step moves: what is trained goes back with what is beside it, and
// blocks that stay do not move.
double step_traffic(const RunConfig& config, const model::Config& shape,
                    const Lives& lives) {
  const bool weights_move = lives.weights;
  const auto format = [&](const weights::Spec& spec) {
    return weights_move
               ? static_cast<double>(dtype_size(spec.type.value_or(config.model.dtype)))
               : 0.0;
  };
  const double state = lives.states
                           ? state_bytes(config.optimizer) +
                                 static_cast<double>(rounding_bytes(
                                     config.optimizer.rounding, config.model.dtype))
                           : 0;
  // A block comes for each direction of each pass, and once more where gradients wait.
  const bool two_pass = clips_in_a_pass(config);
  const double turns = config.memory.gradients == GradientsMode::kAccumulate ? 3
                       : two_pass                                            ? 4
                                                                             : 2;
  double read = 0, written = 0, edges = 0;
  for (const weights::Spec& spec : weight_specs(config, shape)) {
    if (spec.adapter) continue;
    const auto elements = static_cast<double>(spec.elements());
    const bool trained = weights::trains(config, spec);
    if (!spec.name.starts_with("model.layers.")) {
      const double measured = config.optimizer.clip_norm > 0 ? 1 : 0;
      if (trained && spec.kind == weights::Kind::kMatrix)
        edges += elements * ((looks(config) + measured + 1) * format(spec) + 2 * state);
      continue;
    }
    read += elements * (turns * format(spec) + (trained ? state : 0));
    written += trained ? elements * (format(spec) + state) : 0;
  }
  const auto blocks = static_cast<double>(shape.num_hidden_layers);
  const auto stay = static_cast<double>(config.memory.resident_blocks);
  const double there = std::min(blocks, stay + static_cast<double>(config.memory.ahead));
  const auto head = static_cast<double>(shape.vocab_size * shape.hidden_size);
  return edges + read * (1 - there / blocks) + written * (1 - stay / blocks) +
         head * (weights_move ? static_cast<double>(dtype_size(config.model.dtype)) : 0);
}

// The same of what is kept of blocks: it goes and comes, but for what the backward pass
// begins with. Of a token a block's input, or what its operations keep.
double kept_traffic(const RunConfig& config, const model::Config& shape, const Work& work,
                    const Lives& lives) {
  if (!lives.kept || work.steps == 0) return 0;
  const auto blocks = static_cast<double>(shape.num_hidden_layers);
  const double kept = kept_share(config.memory.activations, shape) * blocks;
  const auto hidden = static_cast<double>(shape.hidden_size);
  const double whole =
      6 * hidden + 3 * static_cast<double>(shape.intermediate_size) +
      2 * static_cast<double>(shape.num_key_value_heads * shape.head_dim);
  const double stay = std::min(blocks, 1 + static_cast<double>(config.memory.ahead));
  // The last blocks keep more, and they are the ones that stay.
  const bool graphs_move = config.memory.kept == KeptMode::kDisk;
  const double of_kept = graphs_move ? std::max(0.0, kept - stay) * whole : 0;
  const double of_inputs = (blocks - std::max(kept, stay)) * hidden;
  return 2 * (of_kept + of_inputs) *
         static_cast<double>(dtype_size(config.model.compute_dtype)) *
         static_cast<double>(work.tokens) / static_cast<double>(work.steps);
}

}  // namespace

double estimate_seconds(const RunConfig& config, const model::Config& shape,
                        const Work& work, const Speed& speed) {
  constexpr double kAttention = 3;  // its operations are slower than a product's
  double blocks = 0, trained_blocks = 0, trained = 0, trained_head = 0;
  const auto head = static_cast<double>(shape.vocab_size * shape.hidden_size);
  const std::string head_name =
      shape.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight";
  for (const weights::Spec& spec : model::weight_specs(shape)) {
    const auto elements = static_cast<double>(spec.elements());
    const bool is_trained = weights::trains(config, spec);
    if (is_trained) trained += elements;
    if (spec.name.starts_with("model.layers.")) {
      blocks += elements;
      if (is_trained) trained_blocks += elements;
    } else if (is_trained && spec.name == head_name) {
      trained_head = elements;
    }
  }
  const double times = clips_in_a_pass(config) ? 2 : 1;
  const double forward = 2 - kept_share(config.memory.activations, shape);
  const auto tokens = static_cast<double>(work.tokens);

  // A trained head that lives elsewhere passes by rows.
  const bool by_rows = config.memory.weights != WeightsMode::kResident;
  const bool measured = config.optimizer.clip_norm > 0 && times == 1;
  const double anew = 2 * trained_head * (looks(config) - 1 + (measured ? 1 : 0));

  // Two operations a weight and token: forward, for the input's gradient, and for the
  // weight's.
  const double products = 2 * times * tokens * (blocks * (forward + 1) + trained_blocks) +
                          2 * static_cast<double>(work.labelled) *
                              (times * (3 * head + trained_head) + (by_rows ? anew : 0));
  // Two products, and five backward.
  const double width = static_cast<double>(shape.num_attention_heads * shape.head_dim *
                                           shape.num_hidden_layers);
  const double attention = 2 * times * work.attended * width * (2 * forward + 5);
  const double evaluated =
      static_cast<double>(work.evaluated_tokens) * static_cast<double>(work.evaluations);
  const double ways = evaluated / static_cast<double>(work.evaluated_together);
  const double evaluating = 2 * blocks * evaluated / speed.operations;
  const double updating =
      moved_bytes(config.optimizer, static_cast<double>(dtype_size(config.model.dtype))) *
      trained;
  const auto steps = static_cast<double>(work.steps);
  const double training =
      (products + kAttention * attention) * slowness(config.train.micro_batch_size, work);
  const double computing =
      training / speed.operations + steps * (updating / speed.bytes + speed.step);
  // They go on side by side, though not wholly: the slower of the two and some of the
  // other.
  constexpr double kInTurns = 0.1;
  const auto seconds_of = [&](const Lives& lives, double bytes_a_second) {
    const double bytes =
        step_traffic(config, shape, lives) + kept_traffic(config, shape, work, lives);
    return bytes > 0 ? steps * bytes / bytes_a_second : 0;
  };
  const MemoryConfig& memory = config.memory;
  const StatesMode states =
      weights::HomeSetup{.weights = memory.weights, .states = memory.states}
          .states_live();
  const double moving =
      std::max(seconds_of({memory.weights == WeightsMode::kDisk,
                           states == StatesMode::kDisk, memory.kept == KeptMode::kDisk},
                          speed.disk),
               seconds_of({memory.weights == WeightsMode::kHost,
                           states == StatesMode::kHost, memory.kept == KeptMode::kHost},
                          speed.host));
  // Each way over the weights brings those that do not stay.
  const double away = (blocks * (1 - static_cast<double>(memory.resident_blocks) /
                                         static_cast<double>(shape.num_hidden_layers)) +
                       head) *
                      static_cast<double>(dtype_size(config.model.dtype));
  const double brought = memory.weights == WeightsMode::kDisk   ? ways * away / speed.disk
                         : memory.weights == WeightsMode::kHost ? ways * away / speed.host
                                                                : 0;
  const auto both = [&](double a, double b) {
    return std::max(a, b) + kInTurns * std::min(a, b);
  };
  return both(computing, moving) + both(evaluating, brought);
}

}  // namespace lowmem::train

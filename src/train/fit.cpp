#include "lowmem/train/fit.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

#include "lowmem/config/differences.h"
#include "lowmem/config/validate.h"
#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/core/units.h"
#include "lowmem/model/hf_weights.h"

namespace lowmem::train {
namespace {

// How far a candidate's result is from the configuration's; each other rule or precision
// takes it further.
enum Distance { kEqual = 0, kRounding = 1, kOther = 2 };

struct Candidate {
  RunConfig config;
  std::vector<Change> changes;
  int distance = kEqual;
  double seconds = 0;

  // `set` writes the new settings into the configuration it is given.
  template <class F>
  void change(F&& set, std::string cost, Distance to) {
    const RunConfig before = config;
    set(config);
    std::vector<std::string> overrides;
    for (const Difference& difference : differences(before, config))
      overrides.push_back(difference.key + "=" + difference.after);
    changes.push_back({std::move(overrides), std::move(cost)});
    distance = to == kOther ? distance + kOther : std::max<int>(distance, to);
  }

  bool is_valid() const {
    try {
      validate(config, Purpose::kTrain);
      return true;
    } catch (const Error&) {
      return false;
    }
  }
};

bool is_adam(const OptimizerConfig& optimizer) {
  return optimizer.name == OptimizerKind::kAdam ||
         optimizer.name == OptimizerKind::kAdamW;
}

// Whether `a` needs as much memory as `b` at least, as far as their settings tell.
bool needs_as_much(const RunConfig& a, const RunConfig& b) {
  const auto hunger = [](const RunConfig& config) {
    return std::array<int64_t, 6>{config.memory.activations == ActivationsMode::kKeep,
                                  config.memory.gradients == GradientsMode::kAccumulate,
                                  !config.memory.linear_cross_entropy,
                                  dtype_size(config.model.dtype),
                                  is_adam(config.optimizer),
                                  dtype_size(config.optimizer.state_dtype)};
  };
  const auto of_a = hunger(a), of_b = hunger(b);
  for (size_t i = 0; i < of_a.size(); ++i)
    if (of_a[i] < of_b[i]) return false;
  return a.train.micro_batch_size == b.train.micro_batch_size;
}

// Bytes that a run cannot do without: weights, Adam's averages and all gradients where
// they are kept.
int64_t least_bytes(const RunConfig& config, const model::LlamaConfig& shape) {
  const int64_t weight = dtype_size(config.model.dtype);
  int64_t trained = 0;
  if (is_adam(config.optimizer)) trained += 2 * dtype_size(config.optimizer.state_dtype);
  if (config.memory.gradients == GradientsMode::kAccumulate) trained += weight;
  int64_t bytes = 0;
  for (const model::WeightSpec& spec : model::weight_specs(shape)) {
    const bool is_trained = engine::selects(config.model.train, spec.name);
    bytes += spec.elements() * (weight + (is_trained ? trained : 0));
  }
  return bytes;
}

// Each candidate as it is, and once more for each of the changes that it has.
template <class... F>
void branch(std::vector<Candidate>& candidates, const F&... changes) {
  const size_t count = candidates.size();
  const auto add = [&](size_t i, const auto& changed) {
    Candidate other = candidates[i];
    if (changed(other)) candidates.push_back(std::move(other));
  };
  for (size_t i = 0; i < count; ++i) (add(i, changes), ...);
}

bool halve_adam(Candidate& candidate) {
  const OptimizerConfig& optimizer = candidate.config.optimizer;
  if (!is_adam(optimizer) || optimizer.state_dtype == DType::kBF16) return false;
  candidate.change([](RunConfig& run) { run.optimizer.state_dtype = DType::kBF16; },
                   "Adam's averages in bf16, rounded stochastically", kOther);
  return true;
}

bool use_adafactor(Candidate& candidate) {
  if (!is_adam(candidate.config.optimizer)) return false;
  candidate.change(
      [](RunConfig& run) {
        OptimizerConfig& optimizer = run.optimizer;
        const OptimizerConfig defaults;
        optimizer.name = OptimizerKind::kAdafactor;
        // What only Adam reads would be refused, and its numbers are not Adafactor's.
        optimizer.state_dtype = defaults.state_dtype;
        optimizer.beta1 = defaults.beta1;
        optimizer.beta2 = optimizer.eps = optimizer.weight_decay = std::nullopt;
      },
      "another update rule, with a learning rate of its own", kOther);
  return true;
}

bool use_bf16(Candidate& candidate) {
  if (candidate.config.model.dtype != DType::kF32) return false;
  candidate.change(
      [](RunConfig& run) {
        run.model.dtype = run.model.compute_dtype = DType::kBF16;
        run.optimizer.rounding = RoundingMode::kStochastic;
      },
      "weights of 16 bits", kOther);
  return true;
}

bool turn_recomputing(Candidate& candidate) {
  const bool keeps = candidate.config.memory.activations == ActivationsMode::kKeep;
  candidate.change(
      [&](RunConfig& run) {
        run.memory.activations =
            keeps ? ActivationsMode::kRecompute : ActivationsMode::kKeep;
      },
      keeps ? "a second forward pass" : "spares the second forward pass", kEqual);
  return true;
}

bool update_at_once(Candidate& candidate) {
  if (candidate.config.memory.gradients == GradientsMode::kUpdate) return false;
  const bool clips = candidate.config.optimizer.clip_norm > 0;
  candidate.change(
      [&](RunConfig& run) {
        run.memory.gradients = GradientsMode::kUpdate;
        if (clips) run.optimizer.clip_mode = ClipMode::kTwoPass;
      },
      clips ? "a pass more, for the norm" : "no time", kEqual);
  return true;
}

bool slice_loss(Candidate& candidate) {
  if (candidate.config.memory.linear_cross_entropy) return false;
  candidate.change([](RunConfig& run) { run.memory.linear_cross_entropy = true; },
                   "no time", kRounding);
  return true;
}

// The batch in 2, 4, ... parts.
void split_batches(std::vector<Candidate>& candidates) {
  const size_t count = candidates.size();
  for (size_t i = 0; i < count; ++i) {
    const TrainConfig& train = candidates[i].config.train;
    int64_t rows = train.micro_batch_size > 0 ? train.micro_batch_size : train.batch_size;
    while (rows > 1) {
      rows = (rows + 1) / 2;
      Candidate other = candidates[i];
      other.change([&](RunConfig& run) { run.train.micro_batch_size = rows; },
                   "smaller products, which are slower", kRounding);
      candidates.push_back(std::move(other));
    }
  }
}

// Parts of a batch keep the machine less busy.
double slowness(const Candidate& candidate) {
  const TrainConfig& train = candidate.config.train;
  if (train.micro_batch_size == 0) return 1;
  return 1 + 0.02 * static_cast<double>(train.batch_size) /
                 static_cast<double>(train.micro_batch_size);
}

std::vector<Candidate> candidates_of(const RunConfig& config, const Inputs& inputs,
                                     const Work& work) {
  std::vector<Candidate> candidates = {{config, {}, kEqual, 0}};
  branch(candidates, turn_recomputing);
  branch(candidates, update_at_once);
  branch(candidates, slice_loss);
  split_batches(candidates);
  branch(candidates, use_bf16);
  branch(candidates, halve_adam, use_adafactor);
  // Some settings refuse each other, as graphs and kept activations do.
  std::erase_if(candidates,
                [](const Candidate& candidate) { return !candidate.is_valid(); });
  std::map<DType, Speed> speeds;
  for (Candidate& candidate : candidates) {
    const DType type = candidate.config.model.compute_dtype;
    if (!speeds.contains(type))
      speeds[type] = measure_speed(candidate.config, inputs, work);
    candidate.seconds =
        estimate_seconds(candidate.config, inputs.shape, work, speeds[type]) *
        slowness(candidate);
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) {
                     if (a.distance != b.distance) return a.distance < b.distance;
                     if (a.seconds != b.seconds) return a.seconds < b.seconds;
                     return a.changes.size() < b.changes.size();
                   });
  return candidates;
}

Error does_not_fit(const Plan& plan, const std::optional<Proposal>& proposal) {
  return Error("memory",
               "would be exhausted: the run's peak is " + format_bytes(plan.needed()) +
                   ", and " + format_bytes(plan.free) + " are free",
               (proposal ? "It fits with " + proposal->overrides()
                         : "No setting makes it fit: use a smaller model or "
                           "data.max_length") +
                   "; memory.force=true begins all the same");
}

}  // namespace

std::optional<Proposal> fit(const RunConfig& config, const Inputs& inputs,
                            int64_t bytes) {
  const Work work = work_of(config, inputs);
  const std::vector<Candidate> candidates = candidates_of(config, inputs, work);
  const auto unchanged =
      std::find_if(candidates.begin(), candidates.end(),
                   [](const Candidate& candidate) { return candidate.changes.empty(); });
  const Speed speed = measure_speed(config, inputs, work);
  std::vector<const RunConfig*> too_large;
  for (const Candidate& candidate : candidates) {
    const bool hopeless = std::any_of(
        too_large.begin(), too_large.end(),
        [&](const RunConfig* other) { return needs_as_much(candidate.config, *other); });
    if (hopeless || least_bytes(candidate.config, inputs.shape) > bytes) continue;
    Plan plan = make_plan(candidate.config, inputs, &speed);
    if (plan.memory.peak <= bytes)
      return Proposal{candidate.changes, std::move(plan),
                      candidate.seconds / std::max(1e-9, unchanged->seconds)};
    too_large.push_back(&candidate.config);
  }
  return std::nullopt;
}

std::string Proposal::overrides() const {
  std::string all;
  for (const Change& change : changes)
    for (const std::string& assignment : change.overrides)
      all += (all.empty() ? "" : " ") + assignment;
  return all;
}

std::string Proposal::to_text() const {
  if (changes.empty()) return "it fits as it is: " + format_bytes(plan.memory.peak);
  char factor[16];
  std::snprintf(factor, sizeof factor, "%.2f", times_as_long);
  std::string text = "fits with a peak of " + format_bytes(plan.memory.peak) +
                     ", at about " + factor + " times the time:\n";
  for (const Change& change : changes) {
    std::string line = "  ";
    for (const std::string& assignment : change.overrides) line += assignment + " ";
    line.resize(std::max<size_t>(line.size() + 1, 44), ' ');
    text += line + change.cost + "\n";
  }
  return text + "to paste: " + overrides();
}

Inputs inputs_that_fit(const RunConfig& config, bool from_checkpoint) {
  namespace meter = engine::memory_meter;
  Inputs inputs = read_inputs(config);
  if (!from_checkpoint) model::check_weights(inputs.shape, config.model.path);
  try {
    const Plan plan = make_plan(config, inputs);
    log::info(plan.to_text());
    if (plan.needed() > plan.free && !config.memory.force)
      throw does_not_fit(plan, fit(config, inputs, plan.free - plan.host_share()));
  } catch (const engine::OutOfMemory&) {
    log::warn("no plan: a limit on the process's addresses is in the way");
  }
  // The machine's speed was measured on tensors that are no part of the run.
  meter::return_free_memory();
  meter::reset_peaks();
  return inputs;
}

}  // namespace lowmem::train

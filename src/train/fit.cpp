#include "lowmem/train/fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>

#include "lowmem/config/differences.h"
#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/core/units.h"
#include "lowmem/memory/meter.h"
#include "lowmem/metrics/progress.h"
#include "lowmem/model/config.h"
#include "lowmem/train/exported.h"
#include "lowmem/weights/adapter_start.h"
#include "lowmem/weights/carried_files.h"
#include "lowmem/weights/hf_folder.h"

namespace lowmem::train {
namespace {

struct Candidate {
  RunConfig config;
  std::vector<Change> changes;
  // How far its result is from the configuration's: 1 by rounding, 2 more for each other
  // rule or precision.
  int distance = 0;
  Speed speed;         // in its type
  double seconds = 0;  // of arithmetic
  AtRest rest;

  void change(Alternative&& other) {
    config = std::move(other.config);
    if (other.change.effect == Effect::kRounding) distance = std::max(distance, 1);
    if (other.change.effect == Effect::kOther) distance += 2;
    // Another rule is farther than the same one in another type.
    for (const std::string& assignment : other.change.overrides)
      if (assignment.starts_with("optimizer.name=")) distance += 2;
    changes.push_back(std::move(other.change));
  }
};

double kept_blocks(OrCount<ActivationsMode> activations) {
  if (activations.count) return static_cast<double>(*activations.count);
  return activations.word == ActivationsMode::kKeep ? HUGE_VAL : 0;
}

// Whether `a` needs as much memory as `b` at least, as far as their settings tell.
// Settings that are not looked at here are equal in all candidates.
bool needs_as_much(const Candidate& a, const Candidate& b) {
  const auto hunger = [](const Candidate& candidate) {
    const RunConfig& config = candidate.config;
    return std::array<double, 4>{kept_blocks(config.memory.activations),
                                 config.memory.linear_cross_entropy ? 0.0 : 1.0,
                                 static_cast<double>(dtype_size(config.model.dtype)),
                                 static_cast<double>(candidate.rest.bytes)};
  };
  const auto of_a = hunger(a), of_b = hunger(b);
  for (size_t i = 0; i < of_a.size(); ++i)
    if (of_a[i] < of_b[i]) return false;
  // With several parts an update in backward holds the inputs of them all.
  const bool whole = a.config.train.micro_batch_size == 0;
  // A home that streams holds the inputs of all parts, and its rows pass beside it.
  const MemoryConfig &of_these = a.config.memory, &of_those = b.config.memory;
  return of_these.weights == of_those.weights && of_these.states == of_those.states &&
         of_these.kept == of_those.kept && of_these.ahead >= of_those.ahead &&
         a.config.train.micro_batch_size == b.config.train.micro_batch_size &&
         (a.config.memory.gradients == b.config.memory.gradients ||
          (whole && a.config.memory.gradients == GradientsMode::kAccumulate));
}

// Bytes that a run cannot do without: what it holds before its first step, and all
// gradients where they are kept.
int64_t least_bytes(const Candidate& candidate, int64_t steps) {
  const bool kept =
      steps > 0 && candidate.config.memory.gradients == GradientsMode::kAccumulate;
  return candidate.rest.bytes +
         (kept ? candidate.rest.whole_elements * dtype_size(candidate.config.model.dtype)
               : 0);
}

// at_rest() of each, once for all that differ in nothing that it depends on.
void look_at_rest(std::vector<Candidate>& candidates, const Inputs& inputs) {
  std::map<std::string, AtRest> known;
  for (Candidate& candidate : candidates) {
    RunConfig config = candidate.config;
    std::string key;
    for (const Difference& difference : differences(RunConfig(), config))
      if (difference.key.starts_with("optimizer.") ||
          difference.key.starts_with("model.") || difference.key == "memory.weights" ||
          difference.key == "memory.states" || difference.key == "memory.ahead" ||
          difference.key == "memory.resident_blocks")
        key += difference.key + "=" + difference.after + "\n";
    const auto found = known.find(key);
    candidate.rest = found != known.end() ? found->second : at_rest(config, inputs);
    known[key] = candidate.rest;
  }
}

// Each candidate as it is, and once more with each of the alternatives that it has.
template <class... F>
void branch(std::vector<Candidate>& candidates, const F&... alternatives) {
  const size_t count = candidates.size();
  const auto add = [&](size_t i, MaybeAlternative&& alternative) {
    if (!alternative) return;
    Candidate other = candidates[i];
    other.change(std::move(*alternative));
    candidates.push_back(std::move(other));
  };
  for (size_t i = 0; i < count; ++i) (add(i, alternatives(candidates[i].config)), ...);
}

// The batch whole, or in 2, 4, ... parts.
void split_batches(std::vector<Candidate>& candidates, int64_t rows) {
  const size_t count = candidates.size();
  for (size_t i = 0; i < count; ++i)
    for (int64_t part = rows; part > 0; part = part > 1 ? (part + 1) / 2 : 0) {
      MaybeAlternative split = split_batch(candidates[i].config, part == rows ? 0 : part);
      if (!split) continue;
      Candidate other = candidates[i];
      other.change(std::move(*split));
      candidates.push_back(std::move(other));
    }
}

// Whether the checkpoint that a run goes on from allows the configuration.
bool goes_on(const Checkpoint* from, const RunConfig& config) {
  if (from == nullptr) return true;
  try {
    check_same_run(from->state.config, config);
    return true;
  } catch (const Error&) {
    return false;
  }
}

// -1: there is none that could be used.
double speed_of_disk(const RunConfig& config) {
  try {
    return disk_speed(config);
  } catch (const Error&) {
    return -1;
  }
}

std::vector<Candidate> candidates_of(const RunConfig& config, const Inputs& inputs,
                                     const Plan& now, const Checkpoint* from,
                                     Effect most) {
  const int64_t rows = std::min(config.train.batch_size,
                                static_cast<int64_t>(inputs.texts->examples.size()));
  std::vector<Candidate> candidates = {{config, {}, 0, {}, 0, {}}};
  branch(candidates, recompute_activations, keep_activations);
  branch(candidates, update_in_backward, accumulate_gradients);
  branch(candidates, slice_loss);
  const bool gpu = !inputs.device.is_cpu();
  const auto on = [gpu](MaybeAlternative (*alternative)(const RunConfig&, bool)) {
    return [=](const RunConfig& run) { return alternative(run, gpu); };
  };
  branch(candidates, on(stream_weights), hold_weights, on(page_states), hold_states);
  branch(candidates, on(page_kept), hold_kept);
  branch(candidates, look_less_ahead);
  branch(candidates, release_blocks);
  split_batches(candidates, rows);
  branch(candidates, use_bf16, round_stochastically);
  branch(candidates, state_in_bf16, state_in_int8, use_adafactor, leave_momentum);
  const int farthest = most == Effect::kNone       ? 0
                       : most == Effect::kRounding ? 1
                                                   : std::numeric_limits<int>::max();
  std::erase_if(candidates, [&](const Candidate& candidate) {
    return candidate.distance > farthest || !goes_on(from, candidate.config);
  });
  std::map<DType, Speed> speeds = {{config.model.compute_dtype, now.speed}};
  double disk = now.speed.disk;
  for (Candidate& candidate : candidates) {
    const DType type = candidate.config.model.compute_dtype;
    if (!speeds.contains(type))
      speeds[type] = measure_speed(candidate.config, inputs, now.work);
    candidate.speed = speeds[type];
    if (disk == 0 && candidate.config.memory.uses_disk())
      disk = speed_of_disk(candidate.config);
    candidate.speed.disk = disk;
    candidate.speed.step = 0;
    candidate.seconds =
        estimate_seconds(candidate.config, inputs.shape, now.work, candidate.speed);
  }
  // Of a GPU's blocks that keep their graphs there is no input to wait elsewhere.
  std::erase_if(candidates, [&](const Candidate& candidate) {
    const MemoryConfig& memory = candidate.config.memory;
    return gpu && memory.kept != KeptMode::kDevice && !memory.activations.count &&
           memory.activations.word == ActivationsMode::kKeep &&
           !candidate.changes.empty();
  });
  std::erase_if(candidates, [](const Candidate& candidate) {
    return candidate.speed.disk < 0 && !candidate.changes.empty() &&
           candidate.config.memory.uses_disk();
  });
  look_at_rest(candidates, inputs);
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
               "would be exhausted: the run's peak is " + format_bytes(plan.memory.peak) +
                   ", and " + format_bytes(plan.free) + " are free",
               (proposal ? "It fits with " + proposal->overrides()
                         : "No setting that was tried makes it fit: use a smaller "
                           "train.batch_size, data.max_length or model") +
                   "; memory.force=true begins all the same");
}

// Finds of a count, which so many blocks of a candidate that fits have already, the most
// that still fit. `alternative` makes them more, by the key that it sets; `plan_of` plans
// a candidate.
struct Count {
  const char* key;
  MaybeAlternative (*alternative)(const RunConfig&, int64_t);
  int64_t now, beyond;  // too many, or of no use
};
template <class PlanOf>
void raise(const Count& count, Candidate& candidate, Plan& plan,
           const model::Config& shape, int64_t bytes, const PlanOf& plan_of) {
  int64_t fits = count.now;
  for (int64_t beyond = count.beyond; beyond - fits > 1;) {
    const int64_t middle = fits + (beyond - fits) / 2;
    MaybeAlternative more = count.alternative(candidate.config, middle);
    if (!more) return;
    Candidate other = candidate;
    std::erase_if(other.changes, [&](const Change& change) {
      return change.overrides.front().starts_with(count.key);
    });
    other.change(std::move(*more));
    other.seconds = estimate_seconds(other.config, shape, plan.work, other.speed);
    Plan other_plan = plan_of(other);
    if (other_plan.memory.peak > bytes) {
      beyond = middle;
      continue;
    }
    fits = middle;
    candidate = std::move(other);
    plan = std::move(other_plan);
  }
}

// Gives a candidate that fits as many of its last blocks to keep their activations as
// still fit, the fewer run twice, the faster; and to stay, where blocks come from the
// disk. What the step is bound by comes first.
template <class PlanOf>
void use_what_is_left(Candidate& candidate, Plan& plan, const model::Config& shape,
                      int64_t bytes, const PlanOf& plan_of) {
  const int64_t blocks = shape.num_hidden_layers;
  const auto kept = std::min(kept_blocks(candidate.config.memory.activations),
                             static_cast<double>(blocks));
  const Count keep{"memory.activations=", &keep_last, static_cast<int64_t>(kept), blocks};
  const Count stay{"memory.resident_blocks=", &hold_blocks,
                   candidate.config.memory.resident_blocks,
                   blocks - candidate.config.memory.ahead};
  Speed at_once = candidate.speed;
  at_once.disk = at_once.host = std::numeric_limits<double>::infinity();
  const bool waits =
      estimate_seconds(candidate.config, shape, plan.work, at_once) < candidate.seconds;
  for (const Count& count : waits ? std::array{stay, keep} : std::array{keep, stay})
    raise(count, candidate, plan, shape, bytes, plan_of);
}

// By the estimates of arithmetic, with one measured time beside it for both: two measured
// ones would differ by chance more than the settings do.
double times_as_long(const Candidate& found, const Plan& now,
                     const std::vector<Candidate>& candidates) {
  const auto unchanged =
      std::find_if(candidates.begin(), candidates.end(),
                   [](const Candidate& candidate) { return candidate.changes.empty(); });
  const double beside = static_cast<double>(now.work.steps) * now.speed.step;
  return (found.seconds + beside) / std::max(1e-9, unchanged->seconds + beside);
}

}  // namespace

std::optional<Proposal> fit(const RunConfig& config, const Inputs& inputs, int64_t bytes,
                            const Plan& now, const Checkpoint* from, int64_t* least,
                            Effect most) {
  const metrics::Progress progress("looking for settings that fit");
  const std::vector<Candidate> candidates =
      candidates_of(config, inputs, now, from, most);
  std::vector<const Candidate*> too_large;
  const auto is_too_large = [&](const Candidate& candidate) {
    return std::any_of(too_large.begin(), too_large.end(), [&](const Candidate* other) {
      return needs_as_much(candidate, *other);
    });
  };
  const auto plan_of = [&](const Candidate& candidate) {
    return candidate.changes.empty()
               ? now
               : make_plan(candidate.config, inputs, from, &candidate.speed);
  };
  const Proposal as_it_is{config, {}, now, 1};
  int64_t smallest = std::numeric_limits<int64_t>::max();
  std::vector<std::pair<int64_t, const Candidate*>> beyond;  // and what each cannot spare
  for (const Candidate& candidate : candidates) {
    const int64_t bound = least_bytes(candidate, now.work.steps);
    if (bound > bytes) beyond.emplace_back(bound, &candidate);
    if (bound > bytes || is_too_large(candidate)) continue;
    Plan plan = plan_of(candidate);
    // Room elsewhere is not looked for: another setting may do without.
    const bool fits_elsewhere =
        plan.fits_host() && (plan.disk_free < 0 || plan.disk.more() <= plan.disk_free);
    if (plan.memory.peak <= bytes && !fits_elsewhere && !candidate.changes.empty())
      continue;
    if (plan.memory.peak <= bytes) {
      Candidate found = candidate;
      use_what_is_left(found, plan, inputs.shape, bytes, plan_of);
      if (found.changes.empty()) return as_it_is;
      const double times = times_as_long(found, now, candidates);
      if (times >= 1 && now.memory.peak <= bytes) return as_it_is;
      return Proposal{found.config, found.changes, std::move(plan), times};
    }
    smallest = std::min(smallest, plan.memory.peak);
    too_large.push_back(&candidate);
  }
  if (least == nullptr) return std::nullopt;
  // Of those that cannot spare equally much, the one that spares most else comes first.
  std::reverse(beyond.begin(), beyond.end());
  std::stable_sort(beyond.begin(), beyond.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [bound, candidate] : beyond) {
    if (bound >= smallest) break;
    if (is_too_large(*candidate)) continue;
    smallest = std::min(smallest, plan_of(*candidate).memory.peak);
    too_large.push_back(candidate);
  }
  *least = smallest;
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

Proposal within_budget(const RunConfig& config, const Inputs& inputs, const Plan& now,
                       const Checkpoint* from) {
  const std::string& budget = config.memory.budget;
  if (budget == "0") return {config, {}, now, 1};
  const bool whole = budget == "free";
  const int64_t program = now.on_cpu && !whole ? now.program : 0;
  // Others on the machine need some, too.
  const int64_t bytes =
      whole ? now.free / 20 * 19 : std::min(parse_bytes(budget) - program, now.free);
  int64_t least = 0;
  auto found = fit(config, inputs, bytes, now, from, &least, Effect::kNone);
  if (!found)
    throw Error("memory.budget = " + budget,
                "is too little with any setting that changes no bit of the result: the "
                "least is " +
                    format_bytes_up(least + program),
                "Give it that much, or use a smaller train.micro_batch_size, "
                "data.max_length or model");
  return *std::move(found);
}

Ready make_ready(const RunConfig& config, const Checkpoint* from) {
  const MemoryConfig& memory = config.memory;
  if (memory.budget == "0" && !memory.blocks_move() &&
      (memory.resident_blocks > 0 || (!memory.scratch.empty() && !memory.uses_disk())))
    log::warn(std::string(memory.uses_disk() ? "memory.resident_blocks does"
                                             : "memory.scratch and "
                                               "memory.resident_blocks do") +
              " nothing: all weights are in memory, as memory.weights = resident");
  if (config.adapter.kind != AdapterKind::kNone &&
      (memory.states == StatesMode::kDisk || memory.states == StatesMode::kHost))
    log::warn("memory.states = " + std::string(word_of(memory.states)) +
              " does nothing for an adapter: what the optimizer keeps of it stays on "
              "the device");
  model::refuse_dropout(config.model.path);
  Ready ready{config, read_inputs(config)};
  const Inputs& inputs = ready.inputs;
  weights::check_carried_files(config.model.path);
  if (from == nullptr)
    weights::check_folder(train::weight_specs(config, inputs.shape), config.model.path);
  if (from == nullptr && config.adapter.path.empty())
    weights::check_start(model::weight_specs(inputs.shape), config.adapter,
                         config.model.path);
  try {
    const Plan now = make_plan(config, inputs, from);
    const Proposal chosen = within_budget(config, inputs, now, from);
    Plan plan = chosen.plan;
    ready.config = chosen.config;
    // By which it was chosen.
    if (config.memory.budget != "0") plan.free = std::max(plan.free, now.free);
    if (config.memory.budget != "0")
      log::info("memory.budget = " + config.memory.budget + ": " +
                (chosen.changes.empty() ? "all as it is" : chosen.overrides()) +
                ", the fastest that was found within it");
    log::info(plan.to_text());
    if (plan.memory.peak > plan.free && !config.memory.force)
      throw does_not_fit(plan, fit(ready.config, inputs, plan.free, plan, from));
    if (!plan.fits_host() && !config.memory.force)
      throw Error(
          "the host's memory",
          "would be exhausted: of what lives there a GPU's run needs " +
              format_bytes(plan.memory.host_peak) + ", and " +
              format_bytes(plan.host_free) + " are free",
          "Use a smaller model or optimizer.state_dtype, or less of memory.weights, "
          "memory.states and memory.kept = host; memory.force=true begins all the "
          "same");
    refuse_full_disk(config, plan.disk);
  } catch (const std::exception& failure) {
    if (memory::asked_of(failure).empty()) throw;
    if (config.memory.budget != "0")
      throw Error("memory.budget = " + config.memory.budget,
                  "cannot be planned for: the process may not have enough addresses",
                  "Lift the limit, as with `ulimit -v unlimited`, or leave it out");
    log::warn("no plan: a limit on the process's addresses is in the way");
  }
  // The machine's speed was measured on tensors that are no part of the run.
  memory::return_free_memory();
  memory::device_ledger().reset_peaks();
  return ready;
}

}  // namespace lowmem::train

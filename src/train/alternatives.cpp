#include "lowmem/train/alternatives.h"

#include <algorithm>

#include "lowmem/config/differences.h"
#include "lowmem/config/rules.h"
#include "lowmem/config/validate.h"
#include "lowmem/core/error.h"

namespace lowmem::train {
namespace {

bool is_valid(const RunConfig& config) {
  try {
    validate(config, Purpose::kTrain);
    return true;
  } catch (const Error&) {
    return false;
  }
}

Effect effect_of(Alters alters) {
  switch (alters) {
    case Alters::kNothing:
    case Alters::kLog:
    case Alters::kPlace:
    case Alters::kCost:
      return Effect::kNone;
    case Alters::kRounding:
      return Effect::kRounding;
    case Alters::kChance:
    case Alters::kLength:
    case Alters::kResult:
      break;
  }
  return Effect::kOther;
}

// `set` writes the settings into a copy.
template <class F>
MaybeAlternative changed(const RunConfig& config, F&& set, std::string cost) {
  Alternative found{config, {{}, std::move(cost), Effect::kNone}};
  set(found.config);
  for (const Difference& difference : differences(config, found.config)) {
    found.change.overrides.push_back(difference.key + "=" + difference.after);
    found.change.effect = std::max(found.change.effect, effect_of(difference.alters));
  }
  if (found.change.overrides.empty() || !is_valid(found.config)) return std::nullopt;
  return found;
}

}  // namespace

MaybeAlternative recompute_activations(const RunConfig& config) {
  return changed(
      config,
      [](RunConfig& run) { run.memory.activations = ActivationsMode::kRecompute; },
      "a second forward pass");
}

MaybeAlternative keep_activations(const RunConfig& config) {
  return changed(
      config, [](RunConfig& run) { run.memory.activations = ActivationsMode::kKeep; },
      "spares the second forward pass");
}

MaybeAlternative keep_last(const RunConfig& config, int64_t blocks) {
  return changed(
      config,
      [&](RunConfig& run) {
        run.memory.activations = OrCount<ActivationsMode>::of(blocks);
      },
      "a second forward pass for the other blocks");
}

MaybeAlternative update_in_backward(const RunConfig& config) {
  const bool clips = config.optimizer.clip_norm > 0;
  return changed(
      config,
      [&](RunConfig& run) {
        run.memory.gradients = GradientsMode::kUpdate;
        if (clips) run.optimizer.clip_mode = ClipMode::kTwoPass;
      },
      clips ? "a forward and backward pass more, for the norm" : "no time");
}

MaybeAlternative accumulate_gradients(const RunConfig& config) {
  const bool twice =
      config.optimizer.clip_norm > 0 && config.optimizer.clip_mode == ClipMode::kTwoPass;
  return changed(
      config,
      [&](RunConfig& run) {
        run.memory.gradients = GradientsMode::kAccumulate;
        if (twice) run.optimizer.clip_mode = ClipMode::kOnePass;
      },
      twice ? "spares the pass for the norm" : "no time");
}

MaybeAlternative slice_loss(const RunConfig& config) {
  return changed(
      config, [](RunConfig& run) { run.memory.linear_cross_entropy = true; }, "no time");
}

MaybeAlternative leave_graphs(const RunConfig& config) {
  if (config.memory.moves()) return std::nullopt;  // there are none
  return changed(
      config, [](RunConfig& run) { run.memory.cuda_graphs = GraphsMode::kFalse; },
      "each kernel is launched by itself");
}

MaybeAlternative use_bf16(const RunConfig& config) {
  if (config.model.dtype != DType::kF32) return std::nullopt;
  return changed(
      config,
      [](RunConfig& run) {
        run.model.dtype = run.model.compute_dtype = DType::kBF16;
        run.optimizer.rounding = RoundingMode::kStochastic;
      },
      "weights of 16 bits");
}

MaybeAlternative round_stochastically(const RunConfig& config) {
  if (config.optimizer.rounding != RoundingMode::kKahan) return std::nullopt;
  return changed(
      config, [](RunConfig& run) { run.optimizer.rounding = RoundingMode::kStochastic; },
      "noise in place of what rounding loses");
}

namespace {

// The averages that a rule keeps, in a narrower type.
MaybeAlternative state_in(const RunConfig& config, StateType type, const char* cost) {
  const OptimizerConfig& optimizer = config.optimizer;
  const bool narrower = bytes_of(type) < bytes_of(optimizer.state_dtype);
  if (rule_of(optimizer.name).averages == 0 || !narrower) return std::nullopt;
  return changed(
      config, [&](RunConfig& run) { run.optimizer.state_dtype = type; }, cost);
}

}  // namespace

MaybeAlternative state_in_bf16(const RunConfig& config) {
  return state_in(config, StateType::kBF16, "averages in bf16, rounded stochastically");
}

MaybeAlternative state_in_int8(const RunConfig& config) {
  return state_in(config, StateType::kInt8, "averages in 8 bits, by blocks of 256");
}

MaybeAlternative use_adafactor(const RunConfig& config) {
  if (rule_of(config.optimizer.name).averages == 0) return std::nullopt;
  // Its steps are a share of the weights, and an adapter begins with zeros.
  if (config.adapter.kind != AdapterKind::kNone) return std::nullopt;
  return changed(
      config,
      [](RunConfig& run) {
        OptimizerConfig& optimizer = run.optimizer;
        const OptimizerConfig defaults;
        optimizer.name = OptimizerKind::kAdafactor;
        // What Adafactor does not read would be refused, and the others' numbers are not
        // its own.
        optimizer.state_dtype = defaults.state_dtype;
        optimizer.beta1 = defaults.beta1;
        optimizer.beta2 = optimizer.eps = optimizer.weight_decay = std::nullopt;
      },
      "another update rule: optimizer.lr must be chosen anew");
}

MaybeAlternative leave_momentum(const RunConfig& config) {
  return changed(
      config, [](RunConfig& run) { run.optimizer.momentum = 0; },
      "another update rule: optimizer.lr must be chosen anew");
}

MaybeAlternative stream_weights(const RunConfig& config, bool gpu) {
  return changed(
      config,
      [&](RunConfig& run) {
        if (run.memory.weights != WeightsMode::kResident) return;
        run.memory.weights = gpu ? WeightsMode::kHost : WeightsMode::kDisk;
        run.memory.ahead = std::min<int64_t>(run.memory.ahead, 1);
      },
      gpu ? "blocks come from the host's memory and go back to it"
          : "blocks come from the disk and go back to it");
}

MaybeAlternative hold_weights(const RunConfig& config) {
  return changed(
      config,
      [](RunConfig& run) {
        if (run.memory.weights == WeightsMode::kResident) return;
        run.memory.weights = WeightsMode::kResident;
        run.memory.resident_blocks = 0;
      },
      "spares the way there and back");
}

MaybeAlternative page_states(const RunConfig& config, bool gpu) {
  if (state_bytes(config.optimizer) == 0 ||
      config.memory.weights != WeightsMode::kResident ||
      config.adapter.kind != AdapterKind::kNone)
    return std::nullopt;
  return changed(
      config,
      [&](RunConfig& run) {
        if (run.memory.blocks_move()) return;
        run.memory.states = gpu ? StatesMode::kHost : StatesMode::kDisk;
        run.memory.ahead = std::min<int64_t>(run.memory.ahead, 1);
      },
      gpu ? "what the optimizer keeps of a block comes from the host's memory and goes "
            "back"
          : "what the optimizer keeps of a block comes from the disk and goes back");
}

MaybeAlternative hold_states(const RunConfig& config) {
  if (config.memory.states != StatesMode::kDisk &&
      config.memory.states != StatesMode::kHost)
    return std::nullopt;
  return changed(
      config, [](RunConfig& run) { run.memory.states = StatesMode::kWithWeights; },
      "what the optimizer keeps is where the weights are");
}

MaybeAlternative page_kept(const RunConfig& config, bool gpu) {
  return changed(
      config,
      [&](RunConfig& run) {
        if (run.memory.kept != KeptMode::kDevice) return;
        run.memory.kept = gpu ? KeptMode::kHost : KeptMode::kDisk;
        run.memory.ahead = std::min<int64_t>(run.memory.ahead, 1);
      },
      gpu ? "what is kept of a block goes to the host's memory and comes back"
          : "what is kept of a block goes to the disk and comes back");
}

MaybeAlternative hold_kept(const RunConfig& config) {
  return changed(
      config, [](RunConfig& run) { run.memory.kept = KeptMode::kDevice; },
      "what is kept of a block stays in memory");
}

MaybeAlternative look_less_ahead(const RunConfig& config) {
  if (!config.memory.moves() || config.memory.ahead <= 1) return std::nullopt;
  return changed(
      config, [](RunConfig& run) { run.memory.ahead = 1; },
      "one block at a time comes before its turn");
}

MaybeAlternative release_blocks(const RunConfig& config) {
  return config.memory.resident_blocks > 0 ? hold_blocks(config, 0) : std::nullopt;
}

MaybeAlternative hold_blocks(const RunConfig& config, int64_t blocks) {
  if (!config.memory.blocks_move()) return std::nullopt;
  return changed(
      config, [&](RunConfig& run) { run.memory.resident_blocks = blocks; },
      "so many blocks stay in memory");
}

MaybeAlternative split_batch(const RunConfig& config, int64_t rows) {
  const int64_t now = config.train.micro_batch_size;
  const bool smaller = rows > 0 && (now == 0 || rows < now);
  return changed(
      config, [&](RunConfig& run) { run.train.micro_batch_size = rows; },
      smaller ? "smaller products, which are slower"
              : "larger products, which are faster");
}

}  // namespace lowmem::train

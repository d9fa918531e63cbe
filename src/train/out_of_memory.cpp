#include "lowmem/train/out_of_memory.h"

#include <algorithm>

#include "lowmem/core/units.h"
#include "lowmem/memory/limits.h"
#include "lowmem/memory/meter.h"
#include "lowmem/train/alternatives.h"

namespace lowmem::train {

std::string next_cheaper(const RunConfig& config) {
  const bool on_gpu =
      config.memory.device != DeviceMode::kCpu && !memory::device().is_cpu();
  const int64_t rows = config.train.micro_batch_size > 0 ? config.train.micro_batch_size
                                                         : config.train.batch_size;
  for (const MaybeAlternative& cheaper :
       {slice_loss(config), recompute_activations(config), update_in_backward(config),
        stream_weights(config, on_gpu), release_blocks(config), page_kept(config, on_gpu),
        look_less_ahead(config), use_adafactor(config), use_bf16(config),
        on_gpu ? leave_graphs(config) : std::nullopt,
        rows > 1 ? split_batch(config, rows / 2) : std::nullopt})
    if (cheaper) {
      std::string settings;
      for (const std::string& setting : cheaper->change.overrides)
        settings += (settings.empty() ? "" : " ") + setting;
      return settings;
    }
  return "";
}

std::optional<Error> too_tight_a_limit(const std::exception& failure) {
  const int64_t limit = memory::address_limit(),
                tensors = memory::host_ledger().current();
  // Half of it is tensors': then less of them would do.
  if (limit >= memory::machine_bytes() || tensors > limit / 2) return std::nullopt;
  return Error(
      "memory",
      "is exhausted: " + memory::asked_of(failure) + " do not fit beside the " +
          format_bytes(tensors) +
          " of tensors and what the program itself takes "
          "of the " +
          format_bytes(limit) + " that it may have",
      "Lift the limit on the process, as with `ulimit -v unlimited -d unlimited`");
}

std::optional<Error> host_exhausted(const std::exception& failure) {
  const auto* known = dynamic_cast<const memory::OutOfMemory*>(&failure);
  if (known == nullptr || memory::device().is_cpu()) return std::nullopt;
  return Error(
      "the host's memory",
      "is exhausted: " + format_bytes(known->asked()) + " do not fit beside the " +
          format_bytes(known->used()) + " in use, of " +
          format_bytes(memory::machine_bytes()),
      "Let less live there, of memory.weights, memory.states and memory.kept, or use "
      "a smaller model");
}

Error out_of_memory(const RunConfig& config, const Resident& resident,
                    const std::exception& failure) {
  if (auto limit = too_tight_a_limit(failure)) return *limit;
  if (auto host = host_exhausted(failure)) return *host;
  const auto* known = dynamic_cast<const memory::OutOfMemory*>(&failure);
  const int64_t used =
      known != nullptr ? known->used() : memory::device_ledger().current();
  const int64_t rest =
      std::max<int64_t>(0, used - resident.weights - resident.optimizer_state);
  const bool gpu = !memory::device().is_cpu();
  const std::string cheaper = next_cheaper(config);
  return Error(gpu ? "the GPU's memory" : "memory",
               "is exhausted: " + memory::asked_of(failure) + " do not fit beside the " +
                   format_bytes(used) + " in use, which are weights " +
                   format_bytes(resident.weights) + ", optimizer state " +
                   format_bytes(resident.optimizer_state) +
                   ", activations, gradients and the rest " + format_bytes(rest) +
                   ", of " + format_bytes(memory::total_bytes()),
               cheaper.empty() ? "Use a smaller data.max_length or a smaller model"
                               : "Set " + cheaper);
}

}  // namespace lowmem::train

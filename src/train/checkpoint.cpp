#include "lowmem/train/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <set>

#include "checkpoint_manifest.h"
#include "lowmem/config/differences.h"
#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/io/atomic_folder.h"
#include "lowmem/io/safetensors_writer.h"
#include "lowmem/memory/scope.h"
#include "lowmem/metrics/progress.h"
#include "lowmem/ops/dtype.h"

namespace lowmem::train {
namespace {

namespace fs = std::filesystem;
using ops::dtype_of;

constexpr const char* kWeights = "weights.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kPrefix = "step-";

// A tensor that a checkpoint holds, and the weight that it is or that it is beside.
struct Held {
  std::string name;
  const weights::Weight* weight;
  std::string state;  // empty: the weight itself
  at::Tensor tensor;  // whose numbers are where their home has them
};

std::vector<Held> weights_of(const weights::Table& table, bool whole) {
  std::vector<Held> held;
  for (const weights::Weight& weight : table.all())
    if (weight.trained || whole)
      held.push_back({weight.name(), &weight, "", weight.here});
  return held;
}

std::vector<Held> states_of(const weights::Table& table) {
  std::vector<Held> held;
  for (const weights::Weight& weight : table.all())
    for (const auto& [name, tensor] : weight.beside)
      held.push_back({weight.name() + "/" + name, &weight, name, tensor});
  return held;
}

int64_t bytes_of(const std::vector<Held>& tensors) {
  int64_t bytes = 0;
  for (const Held& held : tensors) bytes += static_cast<int64_t>(held.tensor.nbytes());
  return bytes;
}

ManifestFile write_tensors(const fs::path& path, std::vector<Held> tensors,
                           weights::Home& home, metrics::Progress& progress) {
  // Wider types first keeps every tensor aligned; of one width they are in the table's
  // order, so that a group is borrowed once.
  std::stable_sort(tensors.begin(), tensors.end(), [](const Held& a, const Held& b) {
    return a.tensor.element_size() > b.tensor.element_size();
  });
  std::vector<TensorSpec> specs;
  for (const Held& held : tensors)
    specs.push_back({held.name, dtype_of(held.tensor), held.tensor.sizes().vec()});
  SafetensorsWriter writer(path, specs);
  std::optional<weights::Lease> lease;
  for (const Held& held : tensors) {
    const size_t group = held.weight->spec.group;
    const auto write = [&](std::span<const std::byte> piece) {
      writer.write(held.name, piece);
      progress.add(static_cast<int64_t>(piece.size()));
    };
    if (!lease || lease->group() != group) {
      lease.reset();
      lease.emplace(home.borrow(group, held.state.empty() ? weights::Access::kRead
                                                          : weights::Access::kReadAll));
    }
    home.read(*held.weight, held.state, write);
  }
  writer.finish();
  return {path.filename().string(), writer.file().bytes_written(),
          writer.file().checksum()};
}

[[noreturn]] void refuse_tensor(const fs::path& file, const std::string& name,
                                const std::string& problem) {
  throw Error(file.string() + " tensor " + name, problem,
              "Go on with the model and the settings that the run began with");
}

// A tensor of that name, shape and type.
const TensorInfo& found_in(const SafetensorsFile& file, const std::string& name,
                           const at::Tensor& like) {
  const TensorInfo* found = file.find(name);
  if (found == nullptr) refuse_tensor(file.path(), name, "is missing");
  if (found->dtype != dtype_of(like) || found->shape != like.sizes().vec())
    refuse_tensor(file.path(), name, "has another shape or type than this run's");
  return *found;
}

// All that is beside the trained weights, and nothing else.
// Checkpoints of format 1 have none of a weight that was never updated: it is zeros.
void read_states(const Checkpoint& checkpoint, weights::Home& home) {
  const fs::path path = checkpoint.folder / kOptimizer;
  std::set<std::string> wanted;
  for (const weights::Weight& weight : home.table().all()) {
    if (checkpoint.format == 1 &&
        checkpoint.updates.value(weight.name(), int64_t{0}) == 0)
      continue;
    for (const auto& [name, tensor] : weight.beside)
      wanted.insert(weight.name() + "/" + name);
  }
  if (wanted.empty()) return;  // an optimizer without state
  const SafetensorsFile file(path);
  for (const TensorInfo& info : file.tensors())
    if (!wanted.contains(info.name))
      refuse_tensor(path, info.name, "is of a weight that this run does not train");
  for (size_t group = 0; group < home.table().groups(); ++group) {
    if (!home.table().trains(group)) continue;
    const auto lease = home.borrow(group, weights::Access::kWrite);
    for (weights::Weight* weight : home.table().group(group))
      for (auto& [key, tensor] : weight->beside) {
        const std::string name = weight->name() + "/" + key;
        if (!wanted.contains(name)) continue;
        const TensorInfo& found = found_in(file, name, tensor);
        home.write(*weight, key, [&](int64_t offset, std::span<std::byte> piece) {
          file.read(found, offset, piece);
        });
      }
  }
}

// The number in "step-<number>"; -1 for other names.
int64_t step_of(const std::string& name) {
  const std::string digits = name.starts_with(kPrefix) ? name.substr(5) : "";
  if (digits.empty() || digits.size() > 12 ||
      digits.find_first_not_of("0123456789") != std::string::npos)
    return -1;
  return std::stoll(digits);
}

}  // namespace

Checkpoints::Checkpoints(fs::path folder, int64_t keep)
    : folder_(std::move(folder)), keep_(keep) {}

fs::path Checkpoints::path(int64_t step) const {
  const std::string digits = std::to_string(step);
  return folder_ /
         (kPrefix + std::string(8 - std::min<size_t>(8, digits.size()), '0') + digits);
}

std::vector<fs::path> Checkpoints::entries() const {
  std::vector<fs::path> found;
  std::error_code code;
  if (fs::symlink_status(folder_, code).type() == fs::file_type::not_found) return found;
  for (fs::directory_iterator at(folder_, code), end; !code && at != end;
       at.increment(code))
    found.push_back(at->path());
  if (code)
    throw Error(folder_.string(), "cannot be read (" + code.message() + ")",
                "Check its permissions and its disk; nothing was changed");
  return found;
}

std::vector<int64_t> Checkpoints::steps() const {
  std::vector<int64_t> found;
  for (const fs::path& entry : entries()) {
    const int64_t step = step_of(entry.filename().string());
    if (step >= 0) found.push_back(step);
  }
  std::sort(found.begin(), found.end());
  return found;
}

void Checkpoints::clean() const {
  std::error_code code;
  for (const fs::path& entry : entries())
    if (is_partial(entry)) fs::remove_all(entry, code);
}

void Checkpoints::save(const RunState& state, weights::Home& home) const {
  AtomicFolder folder(path(state.step));
  const weights::Table& table = home.table();
  std::vector<Held> held = weights_of(table, state.frozen.empty());
  std::vector<Held> states = states_of(table);
  metrics::Progress progress("saving a checkpoint", bytes_of(held) + bytes_of(states),
                             metrics::Progress::Unit::kBytes);
  std::vector<ManifestFile> files;
  files.push_back(
      write_tensors(folder.path() / kWeights, std::move(held), home, progress));
  if (!states.empty())
    files.push_back(
        write_tensors(folder.path() / kOptimizer, std::move(states), home, progress));
  auto updates = nlohmann::json::object();
  for (const weights::Weight& weight : table.all())
    if (weight.trained) updates[weight.name()] = weight.updates;
  write_manifest(folder.path(), state, updates, files);
  folder.commit();

  std::vector<int64_t> all = steps();
  // A run that went back to an earlier one has no use for what came after.
  while (!all.empty() && all.back() > state.step) {
    remove_folder(path(all.back()));
    all.pop_back();
  }
  if (keep_ == 0) return;
  for (size_t i = 0; i + static_cast<size_t>(keep_) < all.size(); ++i)
    remove_folder(path(all[i]));
}

std::optional<Checkpoint> Checkpoints::newest() const {
  const std::vector<int64_t> all = steps();
  std::string damage;
  for (auto step = all.rbegin(); step != all.rend(); ++step) {
    try {
      return read_manifest(path(*step));
    } catch (const Error& error) {
      log::warn(path(*step).string() + " is damaged and left out: " + error.thing() +
                " " + error.problem());
      damage = error.thing() + " " + error.problem();
    }
  }
  if (all.empty()) return std::nullopt;
  throw Error(folder_.string(), "holds no checkpoint that is whole: " + damage,
              "Begin the run anew, without --resume and with run.overwrite = true");
}

std::set<std::string> weights_in(const Checkpoint& checkpoint) {
  std::set<std::string> names;
  const SafetensorsFile file(checkpoint.folder / kWeights);
  for (const TensorInfo& info : file.tensors()) names.insert(info.name);
  return names;
}

void restore_weights(const Checkpoint& checkpoint, weights::Home& home) {
  const memory::Scope phase(memory::Phase::kLoad);
  const SafetensorsFile file(checkpoint.folder / kWeights);
  weights::Table& table = home.table();
  const auto is_wanted = [&](const weights::Weight* weight) {
    return weight->trained || file.find(weight->name()) != nullptr;
  };
  int64_t bytes = 0;
  for (const weights::Weight& weight : table.all())
    if (is_wanted(&weight)) bytes += weight.bytes();
  metrics::Progress progress("loading the checkpoint's weights", bytes,
                             metrics::Progress::Unit::kBytes);
  for (size_t group = 0; group < table.groups(); ++group) {
    const auto weights = table.group(group);
    if (std::none_of(weights.begin(), weights.end(), is_wanted)) continue;
    const auto lease = home.borrow(group, weights::Access::kWrite);
    for (weights::Weight* weight : weights) {
      if (!is_wanted(weight)) continue;
      const TensorInfo& found = found_in(file, weight->name(), weight->here);
      home.write(*weight, [&](int64_t offset, std::span<std::byte> piece) {
        file.read(found, offset, piece);
      });
      progress.add(weight->bytes());
    }
  }
}

void restore_states(const Checkpoint& checkpoint, weights::Home& home) {
  const memory::Scope phase(memory::Phase::kUpdate);
  read_states(checkpoint, home);
  for (weights::Weight& weight : home.table().all())
    weight.updates = checkpoint.updates.value(weight.name(), int64_t{0});
}

void check_same_run(const RunConfig& before, const RunConfig& now) {
  for (const Difference& difference : differences(before, now)) {
    switch (difference.alters) {
      case Alters::kNothing:
      case Alters::kPlace:
      case Alters::kCost:
        continue;
      case Alters::kLength:
        // AdaLoRA's ranks come down by the run's length.
        if (now.optimizer.schedule == ScheduleKind::kConstant &&
            (now.adapter.kind != AdapterKind::kAdalora ||
             difference.key == "train.stop_after"))
          continue;
        break;
      case Alters::kLog:
      case Alters::kChance:
      case Alters::kRounding:
      case Alters::kResult:
        break;
    }
    throw Error(difference.key + " = " + difference.after,
                "differs from the run that is to go on, which has " + difference.before,
                "Write that value, or begin another run under another run.name");
  }
}

}  // namespace lowmem::train

#include "lowmem/train/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "checkpoint_manifest.h"
#include "lowmem/config/differences.h"
#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/engine/memory_meter.h"
#include "lowmem/io/atomic_folder.h"
#include "lowmem/io/safetensors_writer.h"
#include "lowmem/metrics/progress.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/ops/pieces.h"

namespace lowmem::train {
namespace {

namespace fs = std::filesystem;
using ops::dtype_of;

constexpr const char* kWeights = "weights.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kPrefix = "step-";

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

NamedTensors weights_of(const model::Llama& model) {
  NamedTensors tensors;
  for (const auto& item : model.named_parameters())
    tensors.emplace_back(item.key(), item.value());
  return tensors;
}

NamedTensors states_of(const engine::Parameters& parameters) {
  NamedTensors tensors;
  for (const optim::ParamSlot& slot : parameters.slots())
    for (const auto& [name, tensor] : slot.state)
      tensors.emplace_back(slot.name + "/" + name, tensor);
  return tensors;
}

int64_t bytes_of(const NamedTensors& tensors) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors)
    bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

ManifestFile write_tensors(const fs::path& path, NamedTensors tensors,
                           metrics::Progress& progress) {
  // Wider types first keeps every tensor aligned.
  std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return a.second.element_size() > b.second.element_size();
  });
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : tensors)
    specs.push_back({name, dtype_of(tensor), tensor.sizes().vec()});
  SafetensorsWriter writer(path, specs);
  for (const auto& [name, tensor] : tensors)
    ops::read_pieces(tensor, [&, &name = name](std::span<const std::byte> piece) {
      writer.write(name, piece);
      progress.add(static_cast<int64_t>(piece.size()));
    });
  writer.finish();
  return {path.filename().string(), writer.file().bytes_written(),
          writer.file().checksum()};
}

[[noreturn]] void refuse_tensor(const fs::path& file, const std::string& name,
                                const std::string& problem) {
  throw Error(file.string() + " tensor " + name, problem,
              "Go on with the model and the settings that the run began with");
}

void read_tensor(const SafetensorsFile& file, const std::string& name,
                 at::Tensor& tensor) {
  const TensorInfo* found = file.find(name);
  if (found == nullptr) refuse_tensor(file.path(), name, "is missing");
  if (found->dtype != dtype_of(tensor) || found->shape != tensor.sizes().vec())
    refuse_tensor(file.path(), name, "has another shape or type than this run's");
  ops::write_pieces(tensor, [&](int64_t offset, std::span<std::byte> piece) {
    file.read(*found, offset, piece);
  });
}

void read_states(const fs::path& path, engine::Parameters& parameters) {
  std::map<std::string, optim::ParamSlot*> slots;
  for (optim::ParamSlot& slot : parameters.slots()) {
    slot.state.clear();
    slots[slot.name] = &slot;
  }
  std::error_code code;
  if (!fs::exists(path, code)) return;  // an optimizer without state
  const SafetensorsFile file(path);
  for (const TensorInfo& info : file.tensors()) {
    const size_t slash = info.name.rfind('/');
    const auto slot =
        slots.find(slash == std::string::npos ? info.name : info.name.substr(0, slash));
    if (slot == slots.end())
      refuse_tensor(path, info.name, "is of a weight that this run does not train");
    at::Tensor tensor =
        at::empty(info.shape, at::TensorOptions(ops::scalar_type(info.dtype))
                                  .device(slot->second->param.device()));
    read_tensor(file, info.name, tensor);
    slot->second->state[info.name.substr(slash + 1)] = tensor;
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

void Checkpoints::save(const RunState& state, const model::Llama& model,
                       const engine::Parameters& parameters) const {
  AtomicFolder folder(path(state.step));
  NamedTensors weights = weights_of(model), states = states_of(parameters);
  metrics::Progress progress("saving a checkpoint", bytes_of(weights) + bytes_of(states),
                             metrics::Progress::Unit::kBytes);
  std::vector<ManifestFile> files;
  files.push_back(write_tensors(folder.path() / kWeights, std::move(weights), progress));
  if (!states.empty())
    files.push_back(
        write_tensors(folder.path() / kOptimizer, std::move(states), progress));
  auto updates = nlohmann::json::object();
  for (const optim::ParamSlot& slot : parameters.slots())
    updates[slot.name] = slot.updates;
  write_manifest(folder.path(), state, updates, files);
  folder.commit();
  // The first time, the names of folders above are new as well.
  sync_folder(folder_.parent_path());
  sync_folder(fs::absolute(folder_).parent_path().parent_path());

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

void restore(const Checkpoint& checkpoint, model::Llama& model,
             engine::Parameters& parameters) {
  const SafetensorsFile file(checkpoint.folder / kWeights);
  NamedTensors weights = weights_of(model);
  {
    const engine::PhaseScope phase(engine::Phase::kLoad);
    metrics::Progress progress("loading the checkpoint's weights", bytes_of(weights),
                               metrics::Progress::Unit::kBytes);
    for (auto& [name, tensor] : weights) {
      read_tensor(file, name, tensor);
      progress.add(static_cast<int64_t>(tensor.nbytes()));
    }
  }
  // As in a run that made it: it was not there after loading.
  const engine::PhaseScope phase(engine::Phase::kUpdate);
  read_states(checkpoint.folder / kOptimizer, parameters);
  for (optim::ParamSlot& slot : parameters.slots())
    slot.updates = checkpoint.updates.value(slot.name, int64_t{0});
}

void check_same_run(const RunConfig& before, const RunConfig& now) {
  static const std::set<std::string> kFree = {
      "run.name",           "run.dir",
      "run.overwrite",      "run.tensorboard",
      "model.path",         "data.train",
      "train.save_every",   "train.keep_checkpoints",
      "eval.data",          "optimizer.clip_mode",
      "memory.activations", "memory.weights",
      "memory.gradients",   "memory.cuda_graphs",
      "memory.force"};
  for (const Difference& difference : differences(before, now)) {
    if (kFree.contains(difference.key)) continue;
    const bool length =
        difference.key == "train.epochs" || difference.key == "train.max_steps";
    if (length && now.optimizer.schedule == ScheduleKind::kConstant) continue;
    throw Error(difference.key + " = " + difference.after,
                "differs from the run that is to go on, which has " + difference.before,
                "Write that value, or begin another run under another run.name");
  }
}

}  // namespace lowmem::train

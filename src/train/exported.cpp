#include "lowmem/train/exported.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "lowmem/config/differences.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/log.h"
#include "lowmem/io/atomic_file.h"
#include "lowmem/io/atomic_folder.h"
#include "lowmem/memory/ledger.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/memory/scope.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/ops/pieces.h"
#include "lowmem/train/run_folder.h"
#include "lowmem/weights/adapter_folder.h"
#include "lowmem/weights/adapter_start.h"
#include "lowmem/weights/hf_folder.h"
#include "lowmem/weights/quantized.h"
#include "lowmem/weights/quantized_folder.h"
#include "lowmem/weights/rank_budget.h"
#include "model_card.h"

namespace lowmem::train {

namespace {

constexpr const char* kBeside = "trained_beside.json";

std::filesystem::path taken_file(const RunConfig& config) {
  return std::filesystem::path(config.run.dir) / config.run.name / kTakenFile;
}

std::filesystem::path base_folder(const RunConfig& config) {
  return std::filesystem::path(config.run.dir) / config.run.name / kBaseFolder;
}

// The model's name, for whoever loads the adapter: of codes that were made anew the
// folder beside the adapter's.
std::string name_of_base(const RunConfig& config) {
  return weights::makes_codes_anew(config.adapter) ? std::string("../") + kBaseFolder
                                                   : base_name(config.model.path);
}

// Whether no quantizing of the model gives the codes: this run made them anew, or the one
// whose adapter it began with.
bool has_codes_of_its_own(const RunConfig& config) {
  if (weights::makes_codes_anew(config.adapter)) return true;
  if (config.adapter.path.empty()) return false;
  const auto beside = trained_beside(config.adapter.path);
  return beside && !beside->codes.empty();
}

void refuse_other_codes(const RunConfig& config, const TrainedBeside& beside,
                        weights::Home& home) {
  if (beside.codes.empty() || beside.codes == weights::codes_fingerprint(home)) return;
  throw Error("the adapter " + config.adapter.path,
              "was trained beside codes that its beginning made anew "
              "(adapter.loftq_iterations), and " +
                  config.model.path + " has others",
              "Give as the model the folder " + std::string(kBaseFolder) +
                  " that the run left beside the adapter, with " +
                  weights::settings_of(beside.form));
}

}  // namespace

std::vector<weights::Spec> weight_specs(const RunConfig& config,
                                        const model::Config& shape) {
  return weights::with_quantized(
      weights::with_adapter(model::weight_specs(shape), config.adapter), config);
}

void write_exported(const RunConfig& config, weights::Home& home,
                    const std::filesystem::path& folder, int64_t steps) {
  if (!makes_adapter(config)) return weights::save(home, config.model.path, folder);
  weights::save_adapter(
      home, config.adapter, name_of_base(config), folder,
      {.start = weights::takes_from_base(config.adapter) ? taken_file(config) : "",
       .steps = steps});
  const Stored form = weights::form_of(config.model);
  if (form == Stored::kPlain) return;
  nlohmann::json beside = {{"quantize", word_of(config.model.quantize)},
                           {"double_quantization", form == Stored::kNf4Double},
                           {"dtype", word_of(config.model.dtype)}};
  if (has_codes_of_its_own(config)) beside["codes"] = weights::codes_fingerprint(home);
  write_file_atomically(folder / kBeside, beside.dump(2) + "\n");
}

std::map<std::string, int64_t> adapter_ranks(const RunConfig& config,
                                             const weights::Table& table) {
  std::map<std::string, int64_t> ranks;
  for (const auto& [module, left] : weights::triplets_left(table, config.adapter))
    ranks[module] = std::count(left.begin(), left.end(), true);
  return ranks;
}

std::optional<TrainedBeside> trained_beside(const std::filesystem::path& adapter) {
  const auto file = adapter / kBeside;
  if (!is_there(file)) return std::nullopt;
  const auto text = nlohmann::json::parse(read_file(file, 4096), nullptr, false);
  const auto has = [&](const char* key, const nlohmann::json& value) {
    return text.is_object() && text.contains(key) && text[key] == value;
  };
  const bool names_codes = text.is_object() && text.contains("codes");
  if (names_codes &&
      (!text["codes"].is_string() || text["codes"].get<std::string>().empty()))
    throw Error(file.string(), "names the codes by no fingerprint",
                "Write that of the run that made the adapter again");
  for (const Stored form : {Stored::kInt8, Stored::kNf4, Stored::kNf4Double})
    for (const auto& type : choices(DType()))
      if (has("quantize", form == Stored::kInt8 ? "int8" : "nf4") &&
          has("double_quantization", form == Stored::kNf4Double) &&
          has("dtype", type.word))
        return TrainedBeside{form, type.value,
                             names_codes ? text["codes"].get<std::string>() : ""};
  throw Error(
      file.string(), "does not say what the adapter was trained beside",
      "Write quantize (nf4 or int8), double_quantization and dtype (bf16 or fp32), "
      "or remove the file");
}

void write_kept(const RunConfig& config, weights::Home& home,
                const std::filesystem::path& folder) {
  if (makes_adapter(config))
    weights::save_adapter(home, config.adapter, base_name(config.model.path), folder);
  else
    weights::save(home, config.model.path, folder);
}

void read_kept(const RunConfig& config, weights::Home& home,
               const std::filesystem::path& folder) {
  if (makes_adapter(config))
    weights::load_adapter(home, config.adapter, folder);
  else  // what lies in codes is there already, and would be made codes of its numbers
    weights::load(home, folder,
                  [](const weights::Weight& weight) { return weight.trained; });
}

void write_merged(const RunConfig& config, weights::Home& home,
                  const std::filesystem::path& folder) {
  weights::save(home, config.model.path, folder,
                {.merged = weights::adapter_layers(weights::model_specs(home.table()),
                                                   config.adapter)});
}

namespace {

// What write_merged() makes for its largest matrix.
void rehearse_merged(const RunConfig& config, weights::Home& home) {
  const weights::Table& table = home.table();
  const weights::AdapterLayer* largest = nullptr;
  int64_t most = 0, rows = 0;
  const auto layers =
      weights::adapter_layers(weights::model_specs(table), config.adapter);
  for (const weights::AdapterLayer& layer : layers) {
    const ops::StoredMatrix matrix = weights::matrix_of(table, layer.module);
    const int64_t slice =
        std::clamp<int64_t>(weights::kMergedElements / matrix.in, 1, matrix.out);
    if (slice * matrix.in <= most) continue;
    most = slice * matrix.in;
    rows = slice;
    largest = &layer;
  }
  if (largest == nullptr) return;
  const at::ScalarType type = ops::scalar_type(config.model.dtype);
  const auto slice = [&](at::ScalarType of) {
    return at::empty({rows, most / rows}, at::TensorOptions(of));
  };
  const at::Tensor sum = slice(at::kFloat);
  // Numbers of another type, or codes, are widened first.
  if (type != at::kFloat || config.model.quantize != QuantizeMode::kNone)
    slice(at::kFloat);
  const at::Tensor rounded = type == at::kFloat ? sum : slice(type);
  if (memory::rehearsed_gpu() == nullptr) return;
  const memory::OnHost on_host;
  slice(type);
}

// Tensors come from a GPU a piece at a time, beside all that lives on the host by then.
void rehearse_pieces(const RunConfig& config, weights::Home& home) {
  const bool checkpoints = config.train.save_every > 0;
  const bool whole = !makes_adapter(config) || config.adapter.merge || checkpoints;
  int64_t largest = 0;
  const auto read = [&](const weights::Weight& weight, const std::string& state,
                        const at::Tensor& tensor) {
    home.read(weight, state, [&](std::span<const std::byte> bytes) {
      // Others are the host's already.
      if (bytes.data() == tensor.const_data_ptr())
        largest = std::max(largest, static_cast<int64_t>(bytes.size()));
    });
  };
  for (size_t group = 0; group < home.table().groups(); ++group) {
    const weights::Lease lease = home.borrow(
        group, checkpoints ? weights::Access::kReadAll : weights::Access::kRead);
    for (const weights::Weight* weight : home.table().group(group)) {
      if (whole || weight->trained) read(*weight, "", weight->here);
      if (!checkpoints) continue;
      for (const auto& [name, tensor] : weight->beside) read(*weight, name, tensor);
    }
  }
  const memory::OnHost on_host;
  at::empty({std::min(ops::kPieceBytes, largest)}, at::kByte);
}

}  // namespace

void rehearse_saving(const RunConfig& config, weights::Home& home) {
  if (memory::rehearsed_gpu() != nullptr) rehearse_pieces(config, home);
  if (config.adapter.merge) rehearse_merged(config, home);
}

void begin_adapter(const RunConfig& config, weights::Home& home) {
  if (!makes_adapter(config)) return;
  if (!config.adapter.path.empty()) {
    weights::load_adapter(home, config.adapter, config.adapter.path);
    log::info("loaded the adapter " + config.adapter.path);
    const auto beside = trained_beside(config.adapter.path);
    if (beside) refuse_other_codes(config, *beside, home);
    if (beside && beside->form != weights::form_of(config.model))
      log::warn("the adapter " + config.adapter.path + " was trained with " +
                weights::settings_of(beside->form) + ", and is used with " +
                weights::settings_of(weights::form_of(config.model)) +
                ": that is another model");
    else if (beside && beside->dtype != config.model.dtype)
      log::warn("the adapter " + config.adapter.path + " was trained beside codes of " +
                std::string(word_of(beside->dtype)) +
                " numbers, and model.dtype is another: some codes differ");
    return;
  }
  const memory::Scope scope(memory::Phase::kLoad, memory::Item::kWeights);
  weights::start_adapter(home, config.adapter, static_cast<uint64_t>(config.run.seed),
                         config.model.path);
}

void rehearse_adapter(const RunConfig& config, weights::Home& home) {
  if (!makes_adapter(config) || !config.adapter.path.empty()) return;
  const memory::Scope scope(memory::Phase::kLoad, memory::Item::kWeights);
  weights::rehearse_start(home, config.adapter);
}

void write_taken(const RunConfig& config, weights::Home& home) {
  if (weights::takes_from_base(config.adapter))
    weights::write_start(home, config.adapter, taken_file(config));
  if (!weights::makes_codes_anew(config.adapter)) return;
  AtomicFolder folder(base_folder(config));
  weights::save_codes(home, config.model.path, folder.path());
  folder.commit();
}

void take_again(const RunConfig& config, weights::Home& home) {
  if (weights::takes_from_base(config.adapter))
    weights::take_from_base(home, config.adapter, taken_file(config));
  if (!weights::makes_codes_anew(config.adapter)) return;
  const auto base = base_folder(config);
  if (!is_there(base))
    throw Error(base.string(), "is gone, with the codes that the run trains beside",
                "Begin the run anew, with run.overwrite = true");
  weights::load(home, base, [](const weights::Weight& weight) {
    return weight.spec.stored != Stored::kPlain;
  });
}

namespace {

// Whether both mean the same adapter of this model, however they put it.
bool same_adapter(const AdapterConfig& a, const AdapterConfig& b,
                  const std::vector<weights::Spec>& specs) {
  if (weights::adapter_layers(specs, a) != weights::adapter_layers(specs, b))
    return false;
  RunConfig with_a, with_b;
  with_a.adapter = a;
  with_b.adapter = b;
  return std::all_of(specs.begin(), specs.end(), [&](const weights::Spec& spec) {
    return weights::trains(with_a, spec) == weights::trains(with_b, spec);
  });
}

// What of AdaLoRA is of a run, and not of the adapter that it leaves.
void take_schedule(const AdapterConfig& from, AdapterConfig& to) {
  to.target_rank = from.target_rank;
  to.tinit = from.tinit;
  to.tfinal = from.tfinal;
  to.delta_t = from.delta_t;
  to.beta1 = from.beta1;
  to.beta2 = from.beta2;
  to.orth_reg_weight = from.orth_reg_weight;
}

}  // namespace

RunConfig with_adapter_of_path(const RunConfig& config) {
  if (config.adapter.path.empty()) return config;
  RunConfig unset = config, found = config, given = config;
  unset.adapter = {};
  found.adapter = weights::read_adapter(config.adapter.path);
  for (RunConfig* each : {&unset, &found}) {
    each->adapter.path = config.adapter.path;
    each->adapter.merge = config.adapter.merge;
    // Of training, not of what was trained: a folder has no trace of some.
    each->adapter.init = config.adapter.init;
    each->adapter.loftq_iterations = config.adapter.loftq_iterations;
    each->adapter.lr_ratio = config.adapter.lr_ratio;
    take_schedule(config.adapter, each->adapter);
    if (config.adapter.dropout > 0) each->adapter.dropout = config.adapter.dropout;
  }
  // What it left is beside the model as it was.
  if (weights::takes_from_base(given.adapter)) {
    given.adapter = weights::beside_whole_base(given.adapter);
    unset.adapter.init = found.adapter.init = given.adapter.init;
  }
  if (given.adapter == unset.adapter || config.model.path.empty()) return found;
  given.adapter.kind = found.adapter.kind;
  const auto specs = model::weight_specs(model::read_model_config(config.model.path));
  if (same_adapter(given.adapter, found.adapter, specs)) return given;
  std::map<std::string, std::string> in_folder;
  for (const Difference& difference : differences(given, found))
    in_folder[difference.key] = difference.after;
  for (const Difference& set : differences(unset, given)) {
    const auto other = in_folder.find(set.key);
    if (other != in_folder.end())
      throw Error(set.key + " = " + set.after,
                  "differs from " + config.adapter.path + ", which has " + other->second,
                  "Leave it out: an adapter that is there has its own");
  }
  return found;
}

}  // namespace lowmem::train

#include "lowmem/model/hf_weights.h"

#include <ATen/ATen.h>

#include <map>
#include <set>

#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/io/weights_folder.h"
#include "lowmem/metrics/progress.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/ops/pieces.h"
#include "model_folder.h"

namespace lowmem::model {
namespace {

using ops::dtype_of;

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

std::span<std::byte> bytes_of(at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()};
}

// The file's tensor for a parameter. A tied pair may lie in the file under either name.
WeightsFolder::Location locate(const WeightsFolder& weights, const std::string& name,
                               bool tied) {
  WeightsFolder::Location found = weights.find(name);
  if (!found && tied && name == kEmbedding) found = weights.find(kHead);
  return found;
}

void load_tensor(const WeightsFolder::Location& from, at::Tensor& parameter) {
  if (parameter.is_cpu()) {
    from.file->read_as(dtype_of(parameter), *from.tensor, bytes_of(parameter));
  } else {
    at::Tensor staged = at::empty(parameter.sizes(), parameter.scalar_type());
    from.file->read_as(dtype_of(parameter), *from.tensor, bytes_of(staged));
    parameter.copy_(staged);
  }
}

// What the model has no place for is refused, except buffers that old files carry and a
// tied head's second copy.
void refuse_surplus(const WeightsFolder& weights, const std::set<std::string>& used,
                    bool tied, const std::filesystem::path& folder) {
  for (const auto& location : weights.tensors()) {
    const std::string& name = location.tensor->name;
    if (used.contains(name) || name.ends_with("rotary_emb.inv_freq") ||
        (tied && (name == kHead || name == kEmbedding)))
      continue;
    throw Error(
        folder.string() + " tensor " + name,
        "is in the file, but the model that config.json describes has no such weight",
        "Check that config.json and the weights belong together");
  }
}

void check(const WeightsFolder& weights, const LlamaConfig& config,
           const std::filesystem::path& folder) {
  const std::string remedy = "Check that config.json and the weights belong together";
  std::set<std::string> used;
  for (const WeightSpec& spec : weight_specs(config)) {
    const auto from = locate(weights, spec.name, config.tie_word_embeddings);
    if (!from)
      throw Error(folder.string() + " tensor " + spec.name, "is not in the weight files",
                  remedy);
    if (from.tensor->shape != spec.shape)
      throw Error(from.file->path().string() + " tensor " + spec.name,
                  "has the shape " + shape_text(from.tensor->shape) +
                      ", where config.json asks for " + shape_text(spec.shape),
                  remedy);
    used.insert(from.tensor->name);
  }
  refuse_surplus(weights, used, config.tie_word_embeddings, folder);
}

}  // namespace

void check_weights(const LlamaConfig& config, const std::filesystem::path& folder) {
  check(WeightsFolder(folder), config, folder);
}

void load_weights(Llama& model, const std::filesystem::path& folder) {
  const at::NoGradGuard no_grad;
  const WeightsFolder weights(folder);
  check(weights, model.config(), folder);
  int64_t bytes = 0;
  for (const at::Tensor& weight : model.parameters())
    bytes += static_cast<int64_t>(weight.nbytes());
  metrics::Progress progress("loading " + folder.string(), bytes,
                             metrics::Progress::Unit::kBytes);
  for (auto& item : model.named_parameters()) {
    load_tensor(locate(weights, item.key(), model.config().tie_word_embeddings),
                item.value());
    progress.add(static_cast<int64_t>(item.value().nbytes()));
  }
  for (const std::string& name : weights.unlisted())
    log::warn(folder.string() + ": tensor " + name +
              " is in a shard but not in the index; it is left out");
}

void save_model(const Llama& model, const std::filesystem::path& source,
                const std::filesystem::path& folder, int64_t max_shard_bytes) {
  std::map<std::string, at::Tensor> parameters;
  for (const auto& item : model.named_parameters()) parameters[item.key()] = item.value();

  create_model_folder(source / "config.json", folder,
                      dtype_of(parameters.at(kEmbedding)));
  std::vector<TensorSpec> specs;
  for (const WeightSpec& spec : weight_specs(model.config()))
    specs.push_back({spec.name, dtype_of(parameters.at(spec.name)), spec.shape});

  int64_t bytes = 0;
  for (const TensorSpec& spec : specs)
    bytes += static_cast<int64_t>(parameters.at(spec.name).nbytes());
  metrics::Progress progress("saving " + folder.string(), bytes,
                             metrics::Progress::Unit::kBytes);

  WeightsWriter writer(folder, specs, max_shard_bytes);
  for (const TensorSpec& spec : specs)
    ops::read_pieces(parameters.at(spec.name), [&](std::span<const std::byte> piece) {
      writer.write(spec.name, piece);
      progress.add(static_cast<int64_t>(piece.size()));
    });
  writer.finish();
}

}  // namespace lowmem::model

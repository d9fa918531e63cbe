#include "lowmem/weights/hf_folder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/io/checksum.h"
#include "lowmem/io/weights_folder.h"
#include "lowmem/metrics/progress.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/ops/elements.h"
#include "lowmem/weights/carried_files.h"

namespace lowmem::weights {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

// A tied pair may lie in the file under either name.
WeightsFolder::Location locate(const WeightsFolder& files, const Spec& spec) {
  WeightsFolder::Location found = files.find(spec.file_name());
  if (!found && !spec.alias.empty()) found = files.find(spec.alias);
  return found;
}

// Numbers that are none would spread to every score and weight.
void refuse_nonfinite(const WeightsFolder::Location& from, double squares) {
  if (std::isfinite(squares)) return;
  throw Error(from.file->path().string() + " tensor " + from.tensor->name,
              "holds numbers that are not finite (NaN or infinity)",
              "Take the weights from before they broke, or fetch them again");
}

// The weight's own rows of a tensor that several are joined in.
TensorInfo rows_of(const TensorInfo& tensor, const Spec& spec) {
  TensorInfo rows = tensor;
  rows.shape = spec.shape;
  if (spec.joined_rows > 0)
    rows.offset += tensor.bytes() / spec.joined_rows * spec.joined_first;
  return rows;
}

// The sum of its squares.
double load_weight(const WeightsFolder::Location& from, Home& home, Weight& weight) {
  const TensorInfo tensor = rows_of(*from.tensor, weight.spec);
  const int64_t width = dtype_size(weight.format);
  double squares = 0;
  home.write(weight, [&](int64_t offset, std::span<std::byte> piece) {
    TensorInfo part = tensor;
    const int64_t elements = static_cast<int64_t>(piece.size()) / width;
    part.offset += offset / width * dtype_size(tensor.dtype);
    part.shape = {elements};
    from.file->read_as(weight.format, part, piece);
    squares += ops::squared_norm(
        at::from_blob(piece.data(), {elements}, ops::scalar_type(weight.format)));
    refuse_nonfinite(from, squares);
  });
  return squares;
}

// A tied head's copy must be one: where it is another matrix, config.json is wrong, and
// half of the model would be left out.
void refuse_other_twin(const WeightsFolder& files, const Spec& spec) {
  if (spec.alias.empty()) return;
  const auto one = files.find(spec.name), other = files.find(spec.alias);
  if (!one || !other) return;
  const TensorInfo &a = *one.tensor, &b = *other.tensor;
  bool same = a.dtype == b.dtype && a.shape == b.shape;
  constexpr int64_t kPiece = int64_t{1} << 20;
  std::vector<std::byte> left, right;
  const int64_t bytes = a.bytes();
  for (int64_t at = 0; same && at < bytes; at += kPiece) {
    left.resize(static_cast<size_t>(std::min(kPiece, bytes - at)));
    right.resize(left.size());
    one.file->read(a, at, left);
    other.file->read(b, at, right);
    same = left == right;
  }
  if (same) return;
  throw Error(
      other.file->path().string() + " tensor " + spec.alias,
      "differs from " + spec.name +
          ", while config.json ties the two (tie_word_embeddings = true)",
      "Set tie_word_embeddings to false in config.json, or remove the tensor that "
      "is not the model's");
}

// Tensors that the table has no place for, except buffers that old files carry and a tied
// head's second copy.
void refuse_surplus(const WeightsFolder& files, const std::set<std::string>& known,
                    const std::filesystem::path& folder) {
  for (const auto& location : files.tensors()) {
    const std::string& name = location.tensor->name;
    if (known.contains(name) || name.ends_with("rotary_emb.inv_freq")) continue;
    throw Error(
        folder.string() + " tensor " + name,
        "is in the file, but the model that config.json describes has no such weight",
        "Check that config.json and the weights belong together");
  }
}

void check(const WeightsFolder& files, const std::vector<Spec>& specs,
           const std::filesystem::path& folder) {
  const std::string remedy = "Check that config.json and the weights belong together";
  std::set<std::string> known;
  for (const Spec& spec : specs) {
    const auto from = locate(files, spec);
    if (!from)
      throw Error(folder.string() + " tensor " + spec.file_name(),
                  "is not in the weight files", remedy);
    if (from.tensor->shape != spec.file_shape())
      throw Error(from.file->path().string() + " tensor " + spec.file_name(),
                  "has the shape " + shape_text(from.tensor->shape) +
                      ", where config.json asks for " + shape_text(spec.file_shape()),
                  remedy);
    known.insert({spec.file_name(), spec.alias});
  }
  refuse_surplus(files, known, folder);
}

std::vector<Spec> specs_of(const Table& table) {
  std::vector<Spec> specs;
  for (const Weight& weight : table.all())
    if (!weight.spec.adapter) specs.push_back(weight.spec);
  return specs;
}

// What read() of a home gives, of a matrix and the product beside it: the sum in fp32,
// rounded once.
void read_merged(const Table& table, const Weight& weight, const AdapterLayer& layer,
                 const std::function<void(std::span<const std::byte>)>& use) {
  const at::NoGradGuard no_grad;
  const int64_t rows = weight.spec.shape[0];
  const int64_t slice = std::max<int64_t>(1, kMergedElements / weight.spec.shape[1]);
  for (int64_t first = 0; first < rows; first += slice) {
    const int64_t count = std::min(slice, rows - first);
    const at::Tensor base = weight.here.narrow(0, first, count).to(at::kFloat);
    const at::Tensor sum = adapter_rows(table, layer, first, count).add_(base);
    const at::Tensor merged = sum.to(weight.here.scalar_type()).cpu();
    use({static_cast<const std::byte*>(merged.const_data_ptr()), merged.nbytes()});
  }
}

}  // namespace

std::vector<TensorSpec> file_tensors(const std::vector<Spec>& specs, DType format) {
  std::vector<TensorSpec> tensors;
  for (const Spec& spec : specs)
    if (spec.joined_first == 0)
      tensors.push_back({spec.file_name(), format, spec.file_shape()});
  return tensors;
}

void check_folder(const std::vector<Spec>& specs, const std::filesystem::path& folder) {
  check(WeightsFolder(folder), specs, folder);
}

Loaded load(Home& home, const std::filesystem::path& folder,
            const std::function<bool(const Weight&)>& wanted) {
  const at::NoGradGuard no_grad;
  const WeightsFolder files(folder);
  Table& table = home.table();
  check(files, specs_of(table), folder);
  const auto is_wanted = [&](const Weight& weight) {
    return !weight.spec.adapter && (!wanted || wanted(weight));
  };
  int64_t bytes = 0;
  for (const Weight& weight : table.all())
    if (is_wanted(weight)) bytes += weight.bytes();
  metrics::Progress progress("loading " + folder.string(), bytes,
                             metrics::Progress::Unit::kBytes);
  Loaded loaded;
  for (size_t group = 0; group < table.groups(); ++group) {
    const auto weights = table.group(group);
    if (std::none_of(weights.begin(), weights.end(),
                     [&](const Weight* weight) { return is_wanted(*weight); }))
      continue;
    const Lease lease = home.borrow(group, Access::kWrite);
    for (Weight* weight : weights) {
      if (!is_wanted(*weight)) continue;
      refuse_other_twin(files, weight->spec);
      if (load_weight(locate(files, weight->spec), home, *weight) == 0)
        loaded.zeros.push_back(weight);
      progress.add(weight->bytes());
    }
  }
  for (const std::string& name : files.unlisted())
    log::warn(folder.string() + ": tensor " + name +
              " is in a shard but not in the index; it is left out");
  return loaded;
}

void save(Home& home, const std::filesystem::path& source,
          const std::filesystem::path& folder, const SaveOptions& options) {
  std::map<std::string, AdapterLayer> adapted;
  for (const AdapterLayer& layer : options.merged) adapted[layer.module] = layer;
  Table& table = home.table();
  create_model_folder(source / "config.json", folder, table.all().front().format);
  const std::vector<TensorSpec> specs =
      file_tensors(specs_of(table), table.all().front().format);
  metrics::Progress progress("saving " + folder.string(), table.bytes(),
                             metrics::Progress::Unit::kBytes);

  WeightsWriter writer(folder, specs, options.max_shard_bytes);
  for (size_t group = 0; group < table.groups(); ++group) {
    const Lease lease = home.borrow(group, Access::kRead);
    for (const Weight* weight : table.group(group)) {
      if (weight->spec.adapter) continue;
      const auto write = [&](std::span<const std::byte> piece) {
        writer.write(weight->spec.file_name(), piece);
        progress.add(static_cast<int64_t>(piece.size()));
      };
      const auto layer = adapted.find(module_of(weight->name()));
      if (layer == adapted.end() || weight->spec.kind != Kind::kMatrix)
        home.read(*weight, write);
      else
        read_merged(table, *weight, layer->second, write);
    }
  }
  writer.finish();
}

std::string frozen_fingerprint(Home& home) {
  Table& table = home.table();
  Checksum checksum;
  bool any = false;
  for (size_t group = 0; group < table.groups(); ++group) {
    const auto weights = table.group(group);
    if (std::all_of(weights.begin(), weights.end(),
                    [](const Weight* weight) { return weight->trained; }))
      continue;
    const Lease lease = home.borrow(group, Access::kRead);
    for (const Weight* weight : weights) {
      if (weight->trained) continue;
      any = true;
      home.read(*weight, [&](std::span<const std::byte> piece) { checksum.add(piece); });
    }
  }
  return any ? hexadecimal(checksum.value()) : "";
}

}  // namespace lowmem::weights

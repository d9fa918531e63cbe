#include "lowmem/weights/hf_folder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <stdexcept>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/io/checksum.h"
#include "lowmem/io/weights_folder.h"
#include "lowmem/metrics/progress.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/ops/elements.h"
#include "lowmem/weights/carried_files.h"
#include "lowmem/weights/quantized.h"
#include "lowmem/weights/quantized_folder.h"

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

// The same of a matrix that lies in codes, of the numbers in the model's type.
double load_quantized(const WeightsFolder::Location& from, Home& home, Weight& codes) {
  const DType format = home.table().all().front().format;
  const TensorInfo tensor = rows_of(*from.tensor, matrix_spec(codes.spec));
  std::vector<std::byte> buffer;
  double squares = 0;
  const auto read = [&](int64_t first, at::Tensor& values) {
    const int64_t elements = values.numel();
    buffer.resize(static_cast<size_t>(elements * dtype_size(format)));
    TensorInfo part = tensor;
    part.offset += first * dtype_size(tensor.dtype);
    part.shape = {elements};
    from.file->read_as(format, part, buffer);
    const at::Tensor numbers =
        at::from_blob(buffer.data(), {elements}, ops::scalar_type(format));
    squares += ops::squared_norm(numbers);
    refuse_nonfinite(from, squares);
    values.copy_(numbers);
  };
  const ops::StoredMatrix matrix = [&] {
    try {
      return quantize(codes.spec, read);
    } catch (const std::domain_error&) {
      throw Error(from.file->path().string() + " tensor " + from.tensor->name,
                  "holds numbers beyond 65,504, and int8 codes are made of fp16",
                  "Set model.quantize = nf4, or none");
    }
  }();
  const std::vector<Weight*> parts = parts_of(home.table(), codes);
  const std::vector<at::Tensor> made = matrix.parts();
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto* bytes = static_cast<const std::byte*>(made[i].const_data_ptr());
    home.write(*parts[i], [&](int64_t offset, std::span<std::byte> piece) {
      std::memcpy(piece.data(), bytes + offset, piece.size());
    });
  }
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

// A folder that lies in codes is read as it is, or not at all.
void refuse_other_form(const std::vector<Spec>& specs, Stored form,
                       const std::filesystem::path& folder) {
  if (form == Stored::kPlain) return;
  for (const Spec& spec : specs) {
    if (spec.adapter || spec.kind != Kind::kMatrix || spec.stored == form ||
        !spec.name.starts_with("model.layers."))
      continue;
    const bool trained = spec.stored == Stored::kPlain &&
                         std::any_of(specs.begin(), specs.end(), [](const Spec& other) {
                           return other.stored != Stored::kPlain;
                         });
    throw Error(folder.string(),
                "holds its matrices in codes" +
                    (trained ? ", and " + spec.name + " is to be trained"
                             : ", and the settings are " + settings_of(spec.stored)),
                trained ? "Leave it out, or give the model in 16 bits"
                        : "Set " + settings_of(form));
  }
}

// `specs`: of a table, an adapter's among them or not.
void check(const WeightsFolder& files, const std::vector<Spec>& specs,
           const std::filesystem::path& folder) {
  const std::string remedy = "Check that config.json and the weights belong together";
  const Stored form = stored_in(folder);
  refuse_other_form(specs, form, folder);
  std::set<std::string> known;
  for (const Spec& part : specs) {
    if (part.adapter || part.part > 0) continue;
    const bool codes = part.stored != Stored::kPlain;
    if (codes && form != Stored::kPlain) {
      for (const std::string& name : check_codes(files, part, folder)) known.insert(name);
      continue;
    }
    const Spec spec = codes ? matrix_spec(part) : part;
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

// What read() of a home gives, of a matrix that is not written as it lies there: in
// codes, or with an adapter's layer beside it. In fp32, rounded once.
void read_rows(const Table& table, const Weight& weight, const AdapterLayer* layer,
               DType format, const std::function<void(std::span<const std::byte>)>& use) {
  const at::NoGradGuard no_grad;
  const ops::StoredMatrix matrix = matrix_of(table, module_of(weight.name()));
  const int64_t slice = std::max<int64_t>(1, kMergedElements / matrix.in);
  for (int64_t first = 0; first < matrix.out; first += slice) {
    const int64_t count = std::min(slice, matrix.out - first);
    const at::Tensor rows = layer != nullptr ? merged_rows(table, *layer, first, count)
                                             : matrix.rows(first, count, at::kFloat);
    const at::Tensor written = rows.to(ops::scalar_type(format)).cpu();
    use({static_cast<const std::byte*>(written.const_data_ptr()), written.nbytes()});
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
  std::vector<Spec> specs;
  for (const Weight& weight : table.all()) specs.push_back(weight.spec);
  check(files, specs, folder);
  const bool in_codes = stored_in(folder) != Stored::kPlain;
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
      progress.add(weight->bytes());
      if (weight->spec.part > 0) continue;  // it came with the codes
      if (in_codes && weight->spec.stored != Stored::kPlain) {
        load_codes(files, home, *weight, folder);
        continue;
      }
      refuse_other_twin(files, weight->spec);
      const auto from = locate(files, weight->spec);
      const bool plain = weight->spec.stored == Stored::kPlain;
      const double squares =
          plain ? load_weight(from, home, *weight) : load_quantized(from, home, *weight);
      if (squares == 0) loaded.zeros.push_back(weight);
    }
  }
  for (const std::string& name : files.unlisted())
    log::warn(folder.string() + ": tensor " + name +
              " is in a shard but not in the index; it is left out");
  return loaded;
}

at::Tensor numbers_in(const std::filesystem::path& folder, const Spec& spec,
                      DType format) {
  const WeightsFolder files(folder);
  const auto from = locate(files, spec);
  if (!from)
    throw Error(folder.string() + " tensor " + spec.file_name(),
                "is not in the weight files", "Give the model folder of the run");
  at::Tensor numbers = at::empty(spec.shape, at::TensorOptions(ops::scalar_type(format)));
  from.file->read_as(
      format, rows_of(*from.tensor, spec),
      {static_cast<std::byte*>(numbers.mutable_data_ptr()), numbers.nbytes()});
  return numbers.to(at::kFloat);
}

void save(Home& home, const std::filesystem::path& source,
          const std::filesystem::path& folder, const SaveOptions& options) {
  std::map<std::string, AdapterLayer> adapted;
  for (const AdapterLayer& layer : options.merged) adapted[layer.module] = layer;
  Table& table = home.table();
  const DType format = table.all().front().format;
  create_model_folder(source / "config.json", folder, format);
  const std::vector<TensorSpec> specs = file_tensors(model_specs(table), format);
  metrics::Progress progress("saving " + folder.string(), table.bytes(),
                             metrics::Progress::Unit::kBytes);

  WeightsWriter writer(folder, specs, options.max_shard_bytes);
  for (size_t group = 0; group < table.groups(); ++group) {
    const Lease lease = home.borrow(group, Access::kRead);
    for (const Weight* weight : table.group(group)) {
      if (weight->spec.adapter || weight->spec.part > 0) continue;
      const auto write = [&](std::span<const std::byte> piece) {
        writer.write(weight->spec.file_name(), piece);
        progress.add(static_cast<int64_t>(piece.size()));
      };
      const auto layer = adapted.find(module_of(weight->name()));
      const bool merged = layer != adapted.end() && weight->spec.kind == Kind::kMatrix;
      if (merged || weight->spec.stored != Stored::kPlain)
        read_rows(table, *weight, merged ? &layer->second : nullptr, format, write);
      else
        home.read(*weight, write);
    }
  }
  writer.finish();
}

namespace {

// Of the weights' bytes, in the table's order; empty where none is wanted.
std::string fingerprint(Home& home, const std::function<bool(const Weight&)>& wanted) {
  Table& table = home.table();
  Checksum checksum;
  bool any = false;
  for (size_t group = 0; group < table.groups(); ++group) {
    const auto weights = table.group(group);
    if (std::none_of(weights.begin(), weights.end(),
                     [&](const Weight* weight) { return wanted(*weight); }))
      continue;
    const Lease lease = home.borrow(group, Access::kRead);
    for (const Weight* weight : weights) {
      if (!wanted(*weight)) continue;
      any = true;
      home.read(*weight, [&](std::span<const std::byte> piece) { checksum.add(piece); });
    }
  }
  return any ? hexadecimal(checksum.value()) : "";
}

}  // namespace

std::string frozen_fingerprint(Home& home) {
  return fingerprint(home, [](const Weight& weight) { return !weight.trained; });
}

std::string codes_fingerprint(Home& home) {
  return fingerprint(
      home, [](const Weight& weight) { return weight.spec.stored != Stored::kPlain; });
}

}  // namespace lowmem::weights

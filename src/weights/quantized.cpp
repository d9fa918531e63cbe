#include "lowmem/weights/quantized.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "lowmem/core/error.h"
#include "lowmem/kernels/nf4.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/weights/adapter.h"

namespace lowmem::weights {
namespace {

// As its name ends, behind the module's.
std::string ending_of(Stored form, size_t part) {
  if (part == 0) return ".weight";
  if (form == Stored::kInt8) return ".SCB";
  constexpr const char* kEndings[] = {"", ".weight.absmax", ".weight.nested_absmax",
                                      ".weight.nested_offset"};
  return kEndings[part];
}

std::vector<Spec> parts_of(const Spec& matrix, Stored form) {
  const int64_t count = matrix.elements(), blocks = kernels::nf4_blocks(count);
  struct Part {
    std::vector<int64_t> shape;
    DType type;
  };
  std::vector<Part> parts;
  if (form == Stored::kInt8) {
    parts = {{matrix.shape, DType::kI8}, {{matrix.shape[0]}, DType::kF32}};
  } else {
    const bool nested = form == Stored::kNf4Double;
    parts = {{{kernels::nf4_bytes(count)}, DType::kU8},
             {{blocks}, nested ? DType::kU8 : DType::kF32}};
    if (nested) {
      parts.push_back({{kernels::nf4_nested(blocks)}, DType::kF32});
      parts.push_back({{1}, DType::kF32});
    }
  }
  std::vector<Spec> specs;
  for (size_t i = 0; i < parts.size(); ++i) {
    Spec spec = matrix;
    spec.name = module_of(matrix.name) + ending_of(form, i);
    spec.shape = parts[i].shape;
    spec.type = parts[i].type;
    spec.stored = form;
    spec.part = i;
    spec.matrix = matrix.shape;
    specs.push_back(std::move(spec));
  }
  return specs;
}

}  // namespace

Stored form_of(const ModelConfig& model) {
  switch (model.quantize) {
    case QuantizeMode::kNone:
      return Stored::kPlain;
    case QuantizeMode::kInt8:
      return Stored::kInt8;
    case QuantizeMode::kNf4:
      break;
  }
  return model.double_quantization ? Stored::kNf4Double : Stored::kNf4;
}

void set_form(ModelConfig& model, Stored form) {
  model.quantize = form == Stored::kPlain  ? QuantizeMode::kNone
                   : form == Stored::kInt8 ? QuantizeMode::kInt8
                                           : QuantizeMode::kNf4;
  model.double_quantization = form != Stored::kNf4;
}

std::vector<Spec> with_quantized(std::vector<Spec> specs, const RunConfig& config) {
  const Stored form = form_of(config.model);
  if (form == Stored::kPlain) return specs;
  std::vector<Spec> all;
  for (Spec& spec : specs) {
    const bool matrix = spec.kind == Kind::kMatrix && !spec.adapter &&
                        spec.name.starts_with("model.layers.");
    if (!matrix || trains(config, spec)) {
      all.push_back(std::move(spec));
      continue;
    }
    for (Spec& part : parts_of(spec, form)) all.push_back(std::move(part));
  }
  if (all.size() == specs.size())
    throw Error(
        "model.quantize = " + std::string(word_of(config.model.quantize)),
        "is of matrices that are not trained, and model.train leaves none",
        "Train an adapter beside them, with adapter.kind = lora, or fewer weights");
  return all;
}

Spec matrix_spec(const Spec& part) {
  Spec spec = part;
  spec.name = module_of(part.name) + ".weight";
  spec.shape = std::exchange(spec.matrix, {});
  spec.stored = Stored::kPlain;
  spec.type.reset();
  return spec;
}

std::vector<Spec> model_specs(const Table& table) {
  std::vector<Spec> specs;
  for (const Weight& weight : table.all()) {
    if (weight.spec.adapter || weight.spec.part > 0) continue;
    specs.push_back(weight.spec.stored == Stored::kPlain ? weight.spec
                                                         : matrix_spec(weight.spec));
  }
  return specs;
}

ops::StoredMatrix matrix_of(const Table& table, const std::string& module) {
  const Weight& first = *table.find(module + ".weight");
  const Stored form = first.spec.stored;
  if (form == Stored::kPlain) return first.here;
  std::vector<at::Tensor> parts;
  for (size_t i = 0; i < ops::StoredMatrix::part_count(form); ++i)
    parts.push_back(table.find(module + ending_of(form, i))->here);
  return {form, first.spec.matrix[0], first.spec.matrix[1], parts};
}

std::vector<Weight*> parts_of(Table& table, const Weight& codes) {
  const Stored form = codes.spec.stored;
  std::vector<Weight*> parts;
  for (size_t i = 0; i < ops::StoredMatrix::part_count(form); ++i)
    parts.push_back(&table.at(module_of(codes.name()) + ending_of(form, i)));
  return parts;
}

namespace {

// Elements that quantize() looks at at a time, of whole blocks or rows.
int64_t piece_of(const Spec& codes) {
  constexpr int64_t kPiece = int64_t{1} << 18;
  const int64_t in = codes.matrix[1];
  const int64_t piece =
      codes.stored == Stored::kInt8 ? std::max<int64_t>(1, kPiece / in) * in : kPiece;
  return std::min(piece, codes.matrix[0] * in);
}

}  // namespace

at::Tensor room_to_quantize(const Table& table) {
  int64_t most = 0;
  for (const Weight& weight : table.all()) {
    const Spec& spec = weight.spec;
    if (spec.stored == Stored::kPlain || spec.part > 0) continue;
    const int64_t count = spec.matrix[0] * spec.matrix[1];
    const int64_t scales = spec.stored == Stored::kInt8  ? spec.matrix[0] * 4
                           : spec.stored == Stored::kNf4 ? kernels::nf4_blocks(count) * 4
                                                         : kernels::nf4_blocks(count) * 5;
    most = std::max(most, piece_of(spec) * 4 + weight.bytes() + scales);
  }
  return at::empty({most}, at::kByte);
}

ops::StoredMatrix quantize(const Spec& codes,
                           const std::function<void(int64_t, at::Tensor&)>& read) {
  const at::NoGradGuard no_grad;
  const Stored form = codes.stored;
  const int64_t out = codes.matrix[0], in = codes.matrix[1], count = out * in;
  const int64_t blocks = kernels::nf4_blocks(count);
  const bool rows = form == Stored::kInt8;
  ops::StoredMatrix single(
      rows ? form : Stored::kNf4, out, in,
      rows ? std::vector{at::empty({out, in}, at::kChar), at::empty({out}, at::kFloat)}
           : std::vector{at::empty({kernels::nf4_bytes(count)}, at::kByte),
                         at::empty({blocks}, at::kFloat)});
  const int64_t piece = piece_of(codes);
  const at::Tensor room = at::empty({piece}, at::kFloat);
  for (int64_t first = 0; first < count; first += piece) {
    at::Tensor values = room.narrow(0, 0, std::min(piece, count - first));
    read(first, values);
    ops::quantize_into(single, values, first);
  }
  if (form != Stored::kNf4Double) return single;
  ops::StoredMatrix nested(
      form, out, in,
      std::vector{single.numbers, at::empty({blocks}, at::kByte),
                  at::empty({kernels::nf4_nested(blocks)}, at::kFloat),
                  at::empty({1}, at::kFloat)});
  ops::quantize_scales(single.scales, nested);
  return nested;
}

}  // namespace lowmem::weights

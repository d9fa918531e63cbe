#include "lowmem/weights/quantized_folder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "lowmem/core/error.h"
#include "lowmem/kernels/dynamic_map.h"
#include "lowmem/kernels/nf4.h"
#include "lowmem/metrics/progress.h"
#include "lowmem/ops/elements.h"
#include "lowmem/weights/adapter.h"
#include "lowmem/weights/carried_files.h"
#include "lowmem/weights/quantized.h"

namespace lowmem::weights {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kState = ".quant_state.bitsandbytes__nf4";
constexpr const char* kFetch = "Fetch the folder again, or give the model in 16 bits";
constexpr int64_t kStateBytes = 4096;  // of its JSON, at most

bool is_nf4(Stored form) { return form == Stored::kNf4 || form == Stored::kNf4Double; }

// A matrix's tensor in the folder, by what its name ends in behind X.weight or X.
struct Tensor {
  std::string name;
  DType type;
  std::vector<int64_t> shape;
};

// Of a folder's matrix in the order in which they are written, but the state, whose size
// only its text gives.
std::vector<Tensor> tensors_of(const Spec& codes) {
  const int64_t out = codes.matrix[0], in = codes.matrix[1], count = out * in;
  const std::string module = module_of(codes.name), weight = module + ".weight";
  if (codes.stored == Stored::kInt8)
    return {{module + ".SCB", DType::kF32, {out}},
            {weight, DType::kI8, {out, in}},
            {module + ".weight_format", DType::kU8, {}}};
  const int64_t blocks = kernels::nf4_blocks(count);
  const bool nested = codes.stored == Stored::kNf4Double;
  std::vector<Tensor> tensors = {
      {weight, DType::kU8, {kernels::nf4_bytes(count), 1}},
      {weight + ".absmax", nested ? DType::kU8 : DType::kF32, {blocks}},
      {weight + ".quant_map", DType::kF32, {16}}};
  if (nested) {
    tensors.push_back(
        {weight + ".nested_absmax", DType::kF32, {kernels::nf4_nested(blocks)}});
    tensors.push_back({weight + ".nested_quant_map", DType::kF32, {256}});
  }
  return tensors;
}

std::array<float, 256> nested_levels() {
  std::array<float, 256> levels{};
  const kernels::DynamicMap<kernels::SignedCode> map;
  for (size_t i = 0; i < levels.size(); ++i) levels[i] = map.value[i];
  return levels;
}

[[noreturn]] void refuse(const fs::path& place, const std::string& problem,
                         const std::string& remedy = kFetch) {
  throw Error(place.string(), problem, remedy);
}

const TensorInfo& tensor_in(const WeightsFolder& files, const std::string& name,
                            const fs::path& folder) {
  const auto found = files.find(name);
  if (!found)
    refuse(folder.string() + " tensor " + name,
           "is not in the weight files, and config.json says that the model lies in "
           "codes");
  return *found.tensor;
}

template <class T>
std::vector<T> read_all(const WeightsFolder& files, const std::string& name,
                        size_t count) {
  const auto found = files.find(name);
  std::vector<T> numbers(count);
  found.file->read(*found.tensor, 0, std::as_writable_bytes(std::span(numbers)));
  return numbers;
}

template <size_t N>
void check_levels(const WeightsFolder& files, const std::string& name,
                  const std::array<float, N>& levels, const fs::path& folder) {
  const auto found = read_all<float>(files, name, N);
  if (!std::equal(levels.begin(), levels.end(), found.begin()))
    refuse(folder.string() + " tensor " + name,
           "holds other levels than bitsandbytes' own, which codes stand for here");
}

// The scale's offset, of a matrix whose state says what its tensors do.
double check_state(const WeightsFolder& files, const Spec& codes,
                   const fs::path& folder) {
  const std::string name = module_of(codes.name) + ".weight" + kState;
  const fs::path place = folder.string() + " tensor " + name;
  const TensorInfo& tensor = tensor_in(files, name, folder);
  const auto text = read_all<char>(files, name, static_cast<size_t>(tensor.bytes()));
  const json state = json::parse(text.begin(), text.end(), nullptr, false);
  if (!state.is_object()) refuse(place, "is not a JSON object");
  const auto is = [&](const char* key, const json& wanted) {
    if (!state.contains(key) || state[key] != wanted)
      refuse(place,
             std::string("says ") + key + " = " +
                 (state.contains(key) ? state[key].dump().substr(0, 60) : "nothing") +
                 ", and " + wanted.dump() + " is what is read");
  };
  is("quant_type", "nf4");
  is("blocksize", kernels::kNf4Block);
  is("shape", codes.matrix);
  if (codes.stored != Stored::kNf4Double) {
    if (state.contains("nested_blocksize"))
      refuse(place, "says that scales are nested, and config.json that they are not");
    return 0;
  }
  is("nested_blocksize", kernels::kNf4Nested);
  is("nested_dtype", "float32");
  if (!state.contains("nested_offset") || !state["nested_offset"].is_number() ||
      !std::isfinite(state["nested_offset"].get<float>()))
    refuse(place, "has no nested_offset that is a number");
  return state["nested_offset"].get<double>();
}

void refuse_joined(const Spec& codes, const fs::path& folder) {
  if (!codes.joined.empty())
    refuse(folder,
           "would hold " + codes.joined +
               " in codes, which is not implemented for "
               "layers that a family joins",
           "Use the model in 16 bits");
}

std::string state_text(const Spec& codes, float offset, DType format) {
  json state = {{"quant_type", "nf4"},
                {"blocksize", kernels::kNf4Block},
                {"dtype", format == DType::kF32 ? "float32" : "bfloat16"},
                {"shape", codes.matrix}};
  if (codes.stored == Stored::kNf4Double) {
    state["nested_blocksize"] = kernels::kNf4Nested;
    state["nested_dtype"] = "float32";
    state["nested_offset"] = static_cast<double>(offset);
  }
  return state.dump();
}

json section_of(Stored form, DType format) {
  const bool nf4 = is_nf4(form);
  return {{"_load_in_4bit", nf4},
          {"_load_in_8bit", !nf4},
          {"bnb_4bit_compute_dtype", format == DType::kF32 ? "float32" : "bfloat16"},
          {"bnb_4bit_quant_storage", "uint8"},
          {"bnb_4bit_quant_type", "nf4"},
          {"bnb_4bit_use_double_quant", form == Stored::kNf4Double},
          {"llm_int8_enable_fp32_cpu_offload", false},
          {"llm_int8_has_fp16_weight", false},
          {"llm_int8_skip_modules", nullptr},
          {"llm_int8_threshold", 6.0},
          {"load_in_4bit", nf4},
          {"load_in_8bit", !nf4},
          {"quant_method", "bitsandbytes"}};
}

}  // namespace

std::vector<std::string> check_codes(const WeightsFolder& files, const Spec& codes,
                                     const fs::path& folder) {
  refuse_joined(codes, folder);
  std::vector<std::string> names;
  for (const Tensor& wanted : tensors_of(codes)) {
    const bool weight_format = wanted.name.ends_with(".weight_format");
    if (weight_format && !files.find(wanted.name)) continue;  // old folders have none
    const TensorInfo& found = tensor_in(files, wanted.name, folder);
    // In several spellings of one number; codes are rows, in any shape of that size.
    if (found.dtype != wanted.type ||
        (weight_format
             ? found.count() != 1
             : found.shape != wanted.shape &&
                   (wanted.type == DType::kI8 ||
                    found.count() != TensorSpec{"", wanted.type, wanted.shape}.count())))
      refuse(folder.string() + " tensor " + wanted.name,
             "is not the " + std::string(dtype_name(wanted.type)) +
                 " tensor of the size that config.json asks for");
    names.push_back(wanted.name);
  }
  if (!is_nf4(codes.stored)) return names;
  const std::string state = module_of(codes.name) + ".weight" + kState;
  const TensorInfo& found = tensor_in(files, state, folder);
  if (found.dtype != DType::kU8 || found.bytes() > kStateBytes)
    refuse(folder.string() + " tensor " + state, "is not a text of some bytes");
  names.push_back(state);
  return names;
}

void load_codes(const WeightsFolder& files, Home& home, Weight& codes,
                const fs::path& folder) {
  const Spec& spec = codes.spec;
  const std::string weight = module_of(spec.name) + ".weight";
  float offset = 0;
  if (is_nf4(spec.stored)) {
    check_levels(files, weight + ".quant_map", kernels::kNf4Levels, folder);
    offset = static_cast<float>(check_state(files, spec, folder));
  } else if (const std::string format = module_of(spec.name) + ".weight_format";
             files.find(format) && read_all<uint8_t>(files, format, 1)[0] != 0) {
    refuse(folder.string() + " tensor " + format,
           "says that the codes lie in an order other than rows");
  }
  if (spec.stored == Stored::kNf4Double)
    check_levels(files, weight + ".nested_quant_map", nested_levels(), folder);
  for (Weight* part : parts_of(home.table(), codes)) {
    if (part->name().ends_with(".nested_offset")) {
      home.write(*part, [&](int64_t, std::span<std::byte> piece) {
        std::memcpy(piece.data(), &offset, piece.size());
      });
      continue;
    }
    const auto from = files.find(part->name());
    home.write(*part, [&](int64_t at, std::span<std::byte> piece) {
      from.file->read(*from.tensor, at, piece);
      if (part->spec.type != DType::kF32) return;
      const at::Tensor scales = at::from_blob(
          piece.data(), {static_cast<int64_t>(piece.size() / 4)}, at::kFloat);
      if (!std::isfinite(ops::squared_norm(scales)))
        refuse(from.file->path().string() + " tensor " + part->name(),
               "holds scales that are not finite");
    });
  }
}

namespace {

// A tensor of the file: a weight of the table, or what is the same in all folders.
struct Item {
  TensorSpec tensor;
  const Weight* weight = nullptr;
  std::vector<std::byte> bytes = {};
};

template <class T>
std::vector<std::byte> copied(std::span<const T> numbers) {
  const auto bytes = std::as_bytes(numbers);
  return {bytes.begin(), bytes.end()};
}

void add_codes(std::vector<Item>& items, Table& table, const Spec& codes, DType format) {
  for (const Tensor& tensor : tensors_of(codes)) {
    Item item{{tensor.name, tensor.type, tensor.shape}};
    if (tensor.name.ends_with(".nested_quant_map"))
      item.bytes = copied(std::span<const float>(nested_levels()));
    else if (tensor.name.ends_with(".quant_map"))
      item.bytes = copied(std::span<const float>(kernels::kNf4Levels));
    else if (tensor.name.ends_with(".weight_format"))
      item.bytes = {std::byte{0}};  // rows
    else
      item.weight = &table.at(tensor.name);
    items.push_back(std::move(item));
  }
  if (!is_nf4(codes.stored)) return;
  const at::Tensor offset = matrix_of(table, module_of(codes.name)).offset;
  const std::string text =
      state_text(codes, offset.defined() ? offset.item<float>() : 0.0f, format);
  items.push_back({{codes.name + kState, DType::kU8, {static_cast<int64_t>(text.size())}},
                   nullptr,
                   copied(std::span<const char>(text))});
}

}  // namespace

void save_codes(Home& home, const fs::path& source, const fs::path& folder,
                int64_t max_shard_bytes) {
  Table& table = home.table();
  const DType format = table.all().front().format;
  Stored form = Stored::kPlain;
  std::vector<Item> items;
  for (size_t group = 0; group < table.groups(); ++group) {
    const Lease lease = home.borrow(group, Access::kRead);
    for (const Weight* weight : table.group(group)) {
      const Spec& spec = weight->spec;
      if (spec.adapter || spec.part > 0) continue;
      if (spec.stored == Stored::kPlain) {
        items.push_back({{spec.file_name(), format, spec.file_shape()}, weight});
        continue;
      }
      refuse_joined(spec, folder);
      form = spec.stored;
      add_codes(items, table, spec, format);
    }
  }
  create_model_folder(source / "config.json", folder, format,
                      section_of(form, format).dump());
  // Wider types first, so that each is aligned.
  std::stable_sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return dtype_size(a.tensor.dtype) > dtype_size(b.tensor.dtype);
  });
  std::vector<TensorSpec> tensors;
  int64_t bytes = 0;
  for (const Item& item : items) {
    tensors.push_back(item.tensor);
    bytes += item.tensor.bytes();
  }
  metrics::Progress progress("saving " + folder.string(), bytes,
                             metrics::Progress::Unit::kBytes);
  WeightsWriter writer(folder, tensors, max_shard_bytes);
  std::optional<Lease> lease;
  size_t borrowed = 0;
  for (const Item& item : items) {
    const auto write = [&](std::span<const std::byte> piece) {
      writer.write(item.tensor.name, piece);
      progress.add(static_cast<int64_t>(piece.size()));
    };
    if (item.weight == nullptr) {
      write(item.bytes);
      continue;
    }
    const size_t group = item.weight->spec.group;
    if (!lease || borrowed != group) {
      lease.reset();
      lease.emplace(home.borrow(group, Access::kRead));
      borrowed = group;
    }
    home.read(*item.weight, write);
  }
  writer.finish();
}

}  // namespace lowmem::weights

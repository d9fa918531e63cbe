#include "lowmem/weights/adapter_folder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "adapter_files.h"
#include "fewer_triplets.h"
#include "lowmem/core/error.h"
#include "lowmem/io/safetensors.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/ops/elements.h"
#include "lowmem/weights/quantized.h"

namespace lowmem::weights {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRefetch = "Repair the file, or fetch the folder again";
constexpr const char* kOtherModel = "Name the model that the adapter was trained beside";

[[noreturn]] void refuse(const fs::path& file, const std::string& problem,
                         const std::string& remedy = kRefetch) {
  throw Error(file.string(), problem, remedy);
}

// What the folder says is left of each module that has triplets.
TripletsLeft triplets_of(const Table& table, const AdapterConfig& adapter,
                         const fs::path& folder) {
  if (adapter.kind != AdapterKind::kAdalora) return {};
  std::set<std::string> modules;
  for (const AdapterLayer& layer : adapter_layers(model_specs(table), adapter))
    modules.insert(layer.module);
  return read_triplets(folder, modules, adapter.rank);
}

void load_triplets(Home& home, Weight& weight, const std::vector<bool>& left,
                   const SafetensorsFile& file, const TensorInfo& tensor) {
  const FewerTriplets fewer(weight.spec, left);
  if (tensor.shape != fewer.shape())
    refuse(file.path(),
           "tensor " + tensor.name + " has another shape than the model's layer",
           kOtherModel);
  at::Tensor numbers = at::empty(tensor.shape, at::kFloat);
  file.read_as(DType::kF32, tensor,
               {static_cast<std::byte*>(numbers.mutable_data_ptr()), numbers.nbytes()});
  if (!std::isfinite(ops::squared_norm(numbers)))
    refuse(file.path(), "tensor " + tensor.name + " holds numbers that are not finite");
  const at::Tensor all = fewer.put_among_zeros(numbers);
  const auto* bytes = static_cast<const std::byte*>(all.const_data_ptr());
  home.write(weight, [&](int64_t offset, std::span<std::byte> piece) {
    std::copy_n(bytes + offset, piece.size(), piece.data());
  });
}

}  // namespace

void load_adapter(Home& home, const AdapterConfig& adapter, const fs::path& folder) {
  const at::NoGradGuard no_grad;
  const SafetensorsFile file(folder / kTensors);
  Table& table = home.table();
  const TripletsLeft left = triplets_of(table, adapter, folder);
  std::set<std::string> wanted;
  const auto is_wanted = [&](const Weight& weight) {
    return weight.spec.adapter ||
           std::any_of(adapter.also_train.begin(), adapter.also_train.end(),
                       [&](const std::string& entry) {
                         return means_module(entry, module_of(weight.name()));
                       });
  };
  for (size_t group = 0; group < table.groups(); ++group) {
    std::optional<Lease> lease;
    for (Weight* weight : table.group(group)) {
      if (!is_wanted(*weight)) continue;
      if (!lease) lease.emplace(home.borrow(group, Access::kWrite));
      const std::string name = kPrefix + weight->name();
      wanted.insert(name);
      const TensorInfo* tensor = file.find(name);
      if (tensor == nullptr) refuse(file.path(), "lacks the tensor " + name);
      if (const auto own = left.find(module_of(weight->name())); own != left.end()) {
        load_triplets(home, *weight, own->second, file, *tensor);
        continue;
      }
      if (tensor->shape != weight->spec.shape)
        refuse(file.path(),
               "tensor " + name + " has another shape than the model's layer",
               kOtherModel);
      const int64_t width = dtype_size(weight->format);
      home.write(*weight, [&](int64_t offset, std::span<std::byte> piece) {
        TensorInfo part = *tensor;
        const int64_t elements = static_cast<int64_t>(piece.size()) / width;
        part.offset += offset / width * dtype_size(tensor->dtype);
        part.shape = {elements};
        file.read_as(weight->format, part, piece);
        if (!std::isfinite(ops::squared_norm(at::from_blob(
                piece.data(), {elements}, ops::scalar_type(weight->format)))))
          refuse(file.path(), "tensor " + name + " holds numbers that are not finite");
      });
    }
  }
  for (const TensorInfo& tensor : file.tensors())
    if (!wanted.contains(tensor.name))
      refuse(file.path(), "tensor " + tensor.name + " is of no module of this model",
             kOtherModel);
}

}  // namespace lowmem::weights

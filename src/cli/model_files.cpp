#include "model_files.h"

#include "lowmem/core/log.h"
#include "lowmem/io/weights_folder.h"
#include "lowmem/weights/quantized_folder.h"

namespace lowmem::cli {

DType type_of_files(const std::filesystem::path& model) {
  const WeightsFolder files(model);
  const bool in_codes = weights::stored_in(model) != Stored::kPlain;
  bool bf16 = true;
  for (const auto& location : files.tensors()) {
    const TensorInfo& tensor = *location.tensor;
    // Beside codes, numbers are those of embeddings, head and norms.
    if (tensor.name.ends_with("inv_freq") ||
        (in_codes &&
         (tensor.dtype == DType::kU8 || tensor.dtype == DType::kI8 ||
          !(tensor.name.ends_with(".weight") || tensor.name.ends_with(".bias")))))
      continue;
    bf16 = bf16 && tensor.dtype == DType::kBF16;
    if (tensor.dtype != DType::kF16) continue;
    log::info(model.string() +
              " is in float16: the result is in float32, which holds it exactly");
    return DType::kF32;
  }
  return bf16 ? DType::kBF16 : DType::kF32;
}

}  // namespace lowmem::cli

#include "lowmem/weights/carried_files.h"

#include <nlohmann/json.hpp>
#include <system_error>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/io/atomic_file.h"

namespace lowmem::weights {
namespace {

constexpr const char* kCarriedOver[] = {
    "generation_config.json",  "tokenizer.json",    "tokenizer.model",
    "tokenizer_config.json",   "vocab.json",        "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json",
};

}  // namespace

void create_model_folder(const std::filesystem::path& config_file,
                         const std::filesystem::path& folder, DType dtype) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code)
    throw Error(folder.string(), "cannot be made (" + code.message() + ")",
                "Check the path and its permissions");

  // Ordered, so that the file keeps the look its author gave it.
  nlohmann::ordered_json config = nlohmann::ordered_json::parse(
      read_file(config_file, kLargestConfig), nullptr, false);
  if (!config.is_object())
    throw Error(config_file.string(), "is not a JSON object",
                "Repair the file, or fetch it again");
  const char* key = config.contains("dtype") ? "dtype" : "torch_dtype";
  config[key] = dtype == DType::kF32 ? "float32" : "bfloat16";
  write_file_atomically(folder / "config.json", config.dump(2) + "\n");

  for (const char* name : kCarriedOver) {
    const auto from = config_file.parent_path() / name;
    if (is_there(from)) write_file_atomically(folder / name, read_file(from));
  }
}

}  // namespace lowmem::weights

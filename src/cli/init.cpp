#include "lowmem/config/choices.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/log.h"
#include "lowmem/core/units.h"
#include "lowmem/model/config.h"
#include "lowmem/model/random_model.h"
#include "options.h"

namespace lowmem::cli {
namespace {

struct InitOptions {
  std::string config, folder;
  std::string dtype = "bf16";
  uint64_t seed = 42;
};

bool has_tokenizer(const std::filesystem::path& folder) {
  return is_there(folder / "tokenizer.json") || is_there(folder / "tokenizer.model");
}

void run(const InitOptions& options) {
  const DType dtype = options.dtype == "fp32" ? DType::kF32 : DType::kBF16;
  refuse_folder_with_files(options.folder);
  model::write_random_model(options.config, options.folder, dtype, options.seed);
  const int64_t count = model::parameter_count(model::read_model_config(options.folder));
  log::info("wrote " + options.folder + ": " + format_count(count) +
            " random parameters, " + format_bytes(count * dtype_size(dtype)));
  if (!has_tokenizer(options.folder))
    log::warn(options.folder + " has no tokenizer, since none lay beside " +
              options.config + ": copy tokenizer.json or tokenizer.model into it");
}

}  // namespace

void add_init(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "init", "write a model folder with random weights, of any size in little memory");
  auto options = std::make_shared<InitOptions>();
  command->add_option("CONFIG", options->config, "config.json of the model")->required();
  command->add_option("DIR", options->folder, "folder to write")->required();
  command->add_option("--dtype", options->dtype, "type of the weights")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "seed of the weights")
      ->check(kCount)
      ->capture_default_str();
  command->callback([options] { run(*options); });
}

}  // namespace lowmem::cli

#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/io/atomic_folder.h"
#include "lowmem/io/sync.h"
#include "lowmem/io/weights_folder.h"
#include "lowmem/train/exported.h"
#include "lowmem/train/session.h"
#include "lowmem/weights/carried_files.h"
#include "options.h"

namespace lowmem::cli {
namespace {

struct MergeOptions {
  std::string adapter, model, folder;
};

// The type that the model's files have: what is merged is written in it.
DType type_of(const std::filesystem::path& model) {
  const WeightsFolder files(model);
  bool bf16 = true;
  for (const auto& location : files.tensors()) {
    const bool buffer = location.tensor->name.ends_with("inv_freq");
    bf16 = bf16 && (buffer || location.tensor->dtype == DType::kBF16);
    if (location.tensor->dtype != DType::kF16) continue;
    log::info(model.string() +
              " is in float16: the result is in float32, which holds it exactly");
    return DType::kF32;
  }
  return bf16 ? DType::kBF16 : DType::kF32;
}

// Block by block, through a working file next to the result: no more than some blocks are
// in memory.
void run(const MergeOptions& options) {
  const auto result =
      (std::filesystem::absolute(options.folder).lexically_normal() / "").parent_path();
  refuse_folder_with_files(result);
  RunConfig config;
  config.model.path = options.model;
  config.model.dtype = config.model.compute_dtype = type_of(options.model);
  config.adapter.path = options.adapter;
  config.memory.device = DeviceMode::kCpu;
  config.memory.weights = WeightsMode::kDisk;
  config.memory.states = StatesMode::kDevice;
  config.memory.ahead = 1;
  make_folders(result.parent_path());
  config.memory.scratch = result.parent_path();
  config = train::with_adapter_of_path(config);
  const c10::Device device = train::open_device(config.memory);
  const auto shape = model::read_model_config(config.model.path);
  const train::HousedModel house = train::house_model(config, shape, device);
  train::load_weights(config, *house.home);
  train::begin_adapter(config, *house.home);
  AtomicFolder folder(result);
  train::write_merged(config, *house.home, folder.path());
  // The template and the end of turn that it was trained with.
  weights::carry_files(config.adapter.path, folder.path());
  folder.commit();
  log::info("wrote " + result.string());
}

}  // namespace

void add_merge(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "merge", "write a model folder with an adapter merged into its weights");
  auto options = std::make_shared<MergeOptions>();
  command->add_option("ADAPTER", options->adapter, "folder of the adapter, as PEFT's")
      ->required();
  command
      ->add_option("--model,-m", options->model, "folder of the model that it is beside")
      ->type_name("DIR")
      ->required();
  command->add_option("--into", options->folder, "folder to write")
      ->type_name("DIR")
      ->required();
  command->callback([options] { run(*options); });
}

}  // namespace lowmem::cli

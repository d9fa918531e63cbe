#include "lowmem/config/choices.h"
#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/io/atomic_folder.h"
#include "lowmem/io/sync.h"
#include "lowmem/train/exported.h"
#include "lowmem/train/session.h"
#include "lowmem/weights/quantized_folder.h"
#include "model_files.h"
#include "options.h"

namespace lowmem::cli {
namespace {

struct QuantizeOptions {
  std::string model, as = "nf4", folder;
  bool single = false;
};

// Block by block, through a working file next to the result: no more than some blocks are
// in memory.
void run(const QuantizeOptions& options) {
  const auto result =
      (std::filesystem::absolute(options.folder).lexically_normal() / "").parent_path();
  refuse_folder_with_files(result);
  if (options.single && options.as != "nf4")
    throw Error("--fp32-scales", "is of nf4, and --as is " + options.as, "Leave it out");
  if (const Stored form = weights::stored_in(options.model); form != Stored::kPlain)
    throw Error(options.model, "lies in codes already: " + weights::settings_of(form),
                "Give the model in 16 bits");
  RunConfig config;
  config.model.path = options.model;
  config.model.dtype = config.model.compute_dtype = type_of_files(options.model);
  config.model.quantize = options.as == "int8" ? QuantizeMode::kInt8 : QuantizeMode::kNf4;
  config.model.double_quantization = !options.single;
  config.model.train = {};
  config.memory.device = DeviceMode::kCpu;
  config.memory.weights = WeightsMode::kDisk;
  config.memory.states = StatesMode::kDevice;
  config.memory.ahead = 1;
  make_folders(result.parent_path());
  config.memory.scratch = result.parent_path();
  const c10::Device device = train::open_device(config.memory);
  const auto shape = model::read_model_config(config.model.path);
  for (const weights::Spec& spec : train::weight_specs(config, shape))
    if (!spec.joined.empty())
      throw Error(options.model,
                  "has layers that its family joins, as " + spec.joined +
                      ", of which no folder in codes is implemented",
                  "Use the model in 16 bits");
  const train::HousedModel house = train::house_model(config, shape, device);
  train::load_weights(config, *house.home);
  AtomicFolder folder(result);
  weights::save_codes(*house.home, config.model.path, folder.path());
  folder.commit();
  log::info("wrote " + result.string());
}

}  // namespace

void add_quantize(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "quantize", "write a model folder whose matrices lie in 4 or 8 bits");
  auto options = std::make_shared<QuantizeOptions>();
  command->add_option("MODEL", options->model, "folder of the model")->required();
  command->add_option("--as", options->as, "nf4, or int8")
      ->check(CLI::IsMember({"nf4", "int8"}))
      ->type_name("FORM");
  command->add_flag("--fp32-scales", options->single,
                    "leave nf4's scales in fp32: 4.5 bits a weight, and not 4.127");
  command->add_option("--into", options->folder, "folder to write")
      ->type_name("DIR")
      ->required();
  command->callback([options] { run(*options); });
}

}  // namespace lowmem::cli

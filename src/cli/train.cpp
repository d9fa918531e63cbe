#include "lowmem/config/optimizer_defaults.h"
#include "lowmem/config/validate.h"
#include "lowmem/train/trainer.h"
#include "options.h"

namespace lowmem::cli {

void add_train(CLI::App& app) {
  const auto options = add_config_options(app);
  app.final_callback([&app, options] {
    if (!app.get_subcommands().empty()) return;
    RunConfig config = config_of(*options);
    validate(config, Purpose::kTrain);
    resolve_defaults(config.optimizer);
    train::train(config);
  });
}

}  // namespace lowmem::cli

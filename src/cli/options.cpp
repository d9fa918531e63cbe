#include "options.h"

#include "lowmem/config/overrides.h"
#include "lowmem/config/yaml.h"

namespace lowmem::cli {

std::shared_ptr<ConfigOptions> add_config_options(CLI::App& app) {
  auto options = std::make_shared<ConfigOptions>();
  app.add_option("--config,-c", options->file, "YAML file of the run")->type_name("FILE");
  for (const ShortFlag& flag : kShortFlags) {
    const std::string key(flag.key);
    app.add_option_function<std::string>(
           std::string(flag.flag),
           [options, key](const std::string& value) {
             options->flags.emplace_back(key, value);
           },
           "short for " + key + "=...")
        ->type_name("VALUE");
  }
  app.add_option("overrides", options->overrides, "section.key=value, over the file")
      ->type_name("KEY=VALUE");
  return options;
}

RunConfig config_of(const ConfigOptions& options) {
  RunConfig config;
  if (!options.file.empty()) config = load_config(options.file);
  for (const auto& [key, value] : options.flags) set_key(config, key, value);
  for (const std::string& assignment : options.overrides)
    apply_override(config, assignment);
  return config;
}

}  // namespace lowmem::cli

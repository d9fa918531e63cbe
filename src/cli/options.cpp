#include "options.h"

#include "lowmem/config/help.h"
#include "lowmem/config/overrides.h"
#include "lowmem/config/yaml.h"
#include "lowmem/core/error.h"
#include "usage.h"

namespace lowmem::cli {
namespace {

KeyInfo key_named(std::string_view name) {
  for (KeyInfo& key : config_keys())
    if (key.name == name) return key;
  throw Error(std::string(name), "is no key", "Correct kShortFlags");
}

// "FILE" where the shell should offer file names.
std::string value_name(const KeyInfo& key) {
  std::string words;
  for (const std::string& word : key.words) (words += words.empty() ? "" : "|") += word;
  if (!words.empty()) return words;
  if (key.name == "model.path") return "DIR";
  return key.type == "integer" ? "N" : key.type == "number" ? "NUMBER" : "TEXT";
}

}  // namespace

std::shared_ptr<ConfigOptions> add_config_options(CLI::App& app) {
  auto options = std::make_shared<ConfigOptions>();
  app.add_option("--config,-c", options->file, "YAML file of the run")
      ->type_name("FILE")
      ->group(kConfiguration);
  for (const ShortFlag& flag : kShortFlags) {
    const KeyInfo key = key_named(flag.key);
    CLI::Option* option = app.add_option_function<std::string>(
        std::string(flag.flag),
        [options, name = key.name](const std::string& value) {
          options->flags.emplace_back(name, value);
        },
        "short for " + key.name + "=...");
    option->type_name(value_name(key))->group(kConfiguration);
    if (key.default_value != "\"\"") option->default_str(key.default_value);
  }
  app.add_option("overrides", options->overrides,
                 app.get_parent() == nullptr
                     ? "a configuration key and its value, over the file; listed below"
                     : "a configuration key and its value, over the file; lowmem-train "
                       "--help lists the keys")
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

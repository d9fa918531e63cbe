#include "options.h"

#include <charconv>
#include <fstream>

#include "lowmem/config/help.h"
#include "lowmem/config/overrides.h"
#include "lowmem/config/yaml.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/plain_text.h"
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

// A misspelt command, or a folder without its key.
void refuse_bare_word(const std::string& word) {
  if (word.find('=') != std::string::npos) return;
  std::error_code code;
  const bool folder = std::filesystem::is_directory(word, code);
  const bool yaml = word.ends_with(".yaml") || word.ends_with(".yml");
  throw Error(word, "is no command, and not of the form section.key=value",
              folder ? "Write --model " + shell_word(word)
              : yaml ? "Write --config " + shell_word(word)
                     : "Write it like optimizer.lr=1.0e-4; lowmem-train --help lists the "
                       "commands");
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

void refuse_another_file(const std::filesystem::path& file, std::string_view mark,
                         const std::string& option) {
  const auto folder = std::filesystem::absolute(file).parent_path();
  std::error_code code;
  if (!std::filesystem::is_directory(folder, code))
    throw Error(option + " " + file.string(),
                "would lie in " + folder.string() + ", which is no folder",
                "Make it, or choose another name");
  if (!is_there(file)) return;
  refuse_other_than_file(file);
  std::ifstream in(file, std::ios::binary);
  std::string start(1024, '\0');
  in.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<size_t>(in.gcount()));
  if (start.find(mark) != std::string::npos) return;
  throw Error(file.string(), "is there, and is not what " + option + " writes",
              "Remove it, or choose another name");
}

void refuse_folder_with_files(const std::filesystem::path& folder) {
  std::error_code code;
  const std::filesystem::directory_iterator files(folder, code);
  if (!code && files != std::filesystem::directory_iterator())
    throw Error(folder.string(),
                "is not empty: it holds " + files->path().filename().string(),
                "Choose an empty folder; nothing was touched");
}

const CLI::Validator kCount(
    [](std::string& text) -> std::string {
      int64_t value = 0;
      const auto [end, code] =
          std::from_chars(text.data(), text.data() + text.size(), value);
      const bool whole = code == std::errc{} && end == text.data() + text.size();
      return whole && value >= 0 ? "" : text + " is not a whole number from 0 up";
    },
    "");

RunConfig config_of(const ConfigOptions& options) {
  RunConfig config;
  if (!options.file.empty()) config = load_config(options.file);
  std::vector<Assignment> assignments;
  for (const auto& [key, value] : options.flags) assignments.push_back({key, value});
  for (const std::string& assignment : options.overrides) {
    refuse_bare_word(assignment);
    assignments.push_back(assignment_of(assignment));
  }
  set_keys(config, assignments);
  return config;
}

}  // namespace lowmem::cli

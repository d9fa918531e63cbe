#include <cstring>

#include "interrupt.h"
#include "lowmem/config/rules.h"
#include "lowmem/config/validate.h"
#include "lowmem/config/yaml.h"
#include "lowmem/core/files.h"
#include "lowmem/core/log.h"
#include "lowmem/core/plain_text.h"
#include "lowmem/data/chat.h"
#include "lowmem/train/exported.h"
#include "lowmem/train/trainer.h"
#include "options.h"

namespace lowmem::cli {
namespace {

// Printed with --quiet too: it is what the user needs next.
void say_how_to_go_on(const RunConfig& config, const train::Results& results) {
  const auto folder = std::filesystem::path(config.run.dir) / config.run.name;
  const std::string name = strsignal(interrupt());
  log::warn(name + ": stopped after step " + std::to_string(results.steps) +
            "; to go on: lowmem-train --config " +
            shell_word((folder / "config.yaml").string()) + " --resume");
}

// A run's own config.yaml, given to go on with it, means the folder that it lies in, from
// wherever it is called.
void stay_in_folder(const std::filesystem::path& file, RunConfig& config) {
  if (file.filename() != "config.yaml") return;
  const auto folder = std::filesystem::absolute(file).lexically_normal().parent_path();
  if (folder.filename() != config.run.name || !is_there(folder / "metrics.jsonl")) return;
  if (load_config(file).run.dir == config.run.dir) config.run.dir = folder.parent_path();
}

// A chat template may write the day: of a run it is the one that it began on, which its
// config.yaml keeps.
void keep_day(RunConfig& config, bool resume) {
  if (config.data.chat_date != "today") return;
  const auto saved =
      std::filesystem::path(config.run.dir) / config.run.name / "config.yaml";
  config.data.chat_date = resume && is_there(saved) ? load_config(saved).data.chat_date
                                                    : chat_day(config.data.chat_date);
}

}  // namespace

void add_train(CLI::App& app) {
  const auto options = add_config_options(app);
  auto resume = std::make_shared<bool>(false);
  app.add_flag("--resume", *resume,
               "go on from the run's newest checkpoint; begin where there is none");
  app.final_callback([&app, options, resume] {
    if (!app.get_subcommands().empty()) return;
    RunConfig config = config_of(*options);
    // What a run goes on with is in its checkpoint, and its settings in its config.yaml.
    if (!*resume || !train::makes_adapter(config))
      config = train::with_adapter_of_path(config);
    if (*resume) stay_in_folder(options->file, config);
    validate(config, Purpose::kTrain);
    resolve_defaults(config.optimizer);
    keep_day(config, *resume);
    const train::RunControl control{.resume = *resume,
                                    .stop = [](int64_t) { return interrupt() != 0; },
                                    .begins = catch_interrupts};
    const train::Results results = train::train(config, control);
    if (results.status != "stopped") return;
    say_how_to_go_on(config, results);
    throw CLI::RuntimeError(128 + interrupt());
  });
}

}  // namespace lowmem::cli

#include "lowmem/data/demo.h"

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/log.h"
#include "lowmem/io/atomic_file.h"
#include "lowmem/io/sync.h"
#include "lowmem/model/random_model.h"
#include "options.h"

namespace lowmem::cli {
namespace {

namespace fs = std::filesystem;

// The demo's files, then random weights for its model, as `init` writes them.
void write_demo(const fs::path& folder, uint64_t seed) {
  const std::vector<DemoFile> files = demo_files(seed);
  for (const DemoFile& file : files)
    if (is_there(folder / file.name))
      throw Error((folder / file.name).string(), "is there already",
                  "Choose an empty folder; nothing was touched");
  make_folders(folder / "model");
  for (const DemoFile& file : files) write_file_atomically(folder / file.name, file.text);
  model::write_random_model(folder / "model" / "config.json", folder / "model",
                            DType::kF32, seed);
  log::info("wrote the demo to " + folder.string());
}

}  // namespace

void add_demo(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "demo", "write the embedded demo: model folder, tokenizer, training and val rows");
  auto folder = std::make_shared<std::string>();
  auto seed = std::make_shared<uint64_t>(42);
  command->add_option("DIR", *folder, "folder to write")->required();
  command->add_option("--seed", *seed, "seed of the rows and weights")
      ->check(kCount)
      ->capture_default_str();
  command->callback([folder, seed] { write_demo(*folder, *seed); });
}

}  // namespace lowmem::cli

#include <cstdio>

#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/io/atomic_folder.h"
#include "lowmem/io/sync.h"
#include "lowmem/train/exported.h"
#include "lowmem/train/session.h"
#include "lowmem/weights/carried_files.h"
#include "lowmem/weights/quantized.h"
#include "lowmem/weights/quantized_folder.h"
#include "model_files.h"
#include "options.h"

namespace lowmem::cli {
namespace {

struct MergeOptions {
  std::string adapter, model, folder, beside, rows;
  bool original = false;
  int64_t limit = 0;
};

// The form of the matrices that the adapter is merged into: those that it was trained
// beside, or with --original the model's own.
Stored form_to_merge_into(const MergeOptions& options) {
  const Stored files = weights::stored_in(options.model);
  if (options.original && files != Stored::kPlain)
    throw Error("--original",
                "is of the model in 16 bits, and " + options.model + " lies in codes",
                "Give the model that they were made of, or leave it out");
  if (options.original && !options.beside.empty())
    throw Error("--original", "and --beside are two models to merge into",
                "Give one of the two");
  if (options.original || files != Stored::kPlain) return files;
  if (!options.beside.empty())
    return options.beside == "int8"  ? Stored::kInt8
           : options.beside == "nf4" ? Stored::kNf4Double
                                     : Stored::kNf4;
  return train::trained_beside(options.adapter).value_or(Stored::kPlain);
}

// Of the right answer, in the mean over HellaSwag rows, or over the tokens of others.
struct LogLikelihood {
  double mean = 0;
  std::string what;
};

LogLikelihood log_likelihood(const RunConfig& config, const train::HousedModel& house,
                             c10::Device device) {
  const auto shape = model::read_model_config(config.model.path);
  const auto tokenizer = open_tokenizer(config.model.path);
  int64_t skipped = 0;
  const auto result =
      train::make_evaluation(config, shape, *tokenizer, device, skipped)
          ->run(house.walk(), train::sliced_loss(device), eval::HellaSwag::kTokensAtOnce);
  if (!result.hellaswag) return {-result.likelihood->loss, "a token"};
  LogLikelihood found{0, "the right ending"};
  for (const eval::RowScore& row : result.hellaswag->rows)
    found.mean += row.log_likelihoods[static_cast<size_t>(row.label)] /
                  static_cast<double>(result.hellaswag->rows.size());
  return found;
}

train::HousedModel house_of(const RunConfig& config, c10::Device device) {
  train::HousedModel house =
      train::house_model(config, model::read_model_config(config.model.path), device);
  train::load_weights(config, *house.home);
  train::begin_adapter(config, *house.home);
  return house;
}

// What is merged, beside what was trained: codes stand for other numbers than the model
// that they were made of, and numbers are rounded.
void report(const RunConfig& trained, const std::filesystem::path& merged,
            c10::Device device) {
  const LogLikelihood before = [&] {
    return log_likelihood(trained, house_of(trained, device), device);
  }();
  RunConfig after = trained;
  after.model.path = merged;
  after.model.quantize = QuantizeMode::kNone;
  after.model.double_quantization = true;
  after.adapter = {};
  after.model.train = {};
  const LogLikelihood now = log_likelihood(after, house_of(after, device), device);
  std::printf("log-likelihood of %s\ntrained %.6f\nmerged %.6f\ndifference %+.6f\n",
              before.what.c_str(), before.mean, now.mean, now.mean - before.mean);
}

// Block by block, through a working file next to the result: no more than some blocks are
// in memory.
void run(const MergeOptions& options) {
  const auto result =
      (std::filesystem::absolute(options.folder).lexically_normal() / "").parent_path();
  refuse_folder_with_files(result);
  const Stored form = form_to_merge_into(options);
  RunConfig config;
  config.model.path = options.model;
  config.model.dtype = config.model.compute_dtype = type_of_files(options.model);
  weights::set_form(config.model, form);
  config.adapter.path = options.adapter;
  config.memory.device = DeviceMode::kCpu;
  config.memory.weights = WeightsMode::kDisk;
  config.memory.states = StatesMode::kDevice;
  config.memory.ahead = 1;
  if (!options.rows.empty()) config.eval.data = {options.rows};
  config.eval.limit = options.limit;
  make_folders(result.parent_path());
  config.memory.scratch = result.parent_path();
  config = train::with_adapter_of_path(config);
  const c10::Device device = train::open_device(config.memory);
  AtomicFolder folder(result);
  {
    const train::HousedModel house = house_of(config, device);
    train::write_merged(config, *house.home, folder.path());
  }
  // The template and the end of turn that it was trained with.
  weights::carry_files(config.adapter.path, folder.path());
  if (!options.rows.empty()) {
    if (const auto beside = train::trained_beside(options.adapter); beside)
      weights::set_form(config.model, *beside);
    report(config, folder.path(), device);
  }
  folder.commit();
  log::info("wrote " + result.string() +
            (form == Stored::kPlain
                 ? ""
                 : ", merged into the numbers of " + weights::settings_of(form)));
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
  command
      ->add_option("--beside", options->beside,
                   "codes that the adapter was trained beside, where it does not say: "
                   "nf4, nf4-fp32-scales or int8")
      ->check(CLI::IsMember({"nf4", "nf4-fp32-scales", "int8"}))
      ->type_name("FORM");
  command->add_flag("--original", options->original,
                    "merge into the model in 16 bits, not into what was trained beside");
  command
      ->add_option("--eval", options->rows,
                   "JSONL rows on which to compare what is merged with what was trained")
      ->type_name("FILE");
  command->add_option("--limit", options->limit, "of these the first rows alone")
      ->type_name("N");
  command->callback([options] { run(*options); });
}

}  // namespace lowmem::cli

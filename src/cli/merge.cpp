#include <cstdio>
#include <utility>

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
  std::string adapter, model, folder, beside, dtype, rows;
  bool original = false;
  int64_t limit = 0;
};

constexpr std::pair<const char*, Stored> kForms[] = {{"nf4-double", Stored::kNf4Double},
                                                     {"nf4-fp32-scales", Stored::kNf4},
                                                     {"int8", Stored::kInt8}};

void refuse_contradictions(const MergeOptions& options, Stored files) {
  if (options.original && files != Stored::kPlain)
    throw Error("--original",
                "is of the model in 16 bits, and " + options.model + " lies in codes",
                "Give the model that they were made of, or leave it out");
  if (options.original && !options.beside.empty())
    throw Error("--original", "and --beside are two models to merge into",
                "Give one of the two");
  if (!options.beside.empty() && files != Stored::kPlain)
    throw Error(
        "--beside",
        "is of codes that are made anew, and " + options.model + " lies in codes already",
        "Leave it out, or give the model in 16 bits");
  if (options.limit != 0 && options.rows.empty())
    throw Error("--limit", "is of the rows of --eval, which is not given",
                "Give both, or none");
}

// How the model lay that the adapter was trained beside.
train::TrainedBeside beside_of(const MergeOptions& options, Stored files) {
  train::TrainedBeside beside{files, type_of_files(options.model)};
  const auto said = train::trained_beside(options.adapter);
  if (said && files != Stored::kPlain && said->form != files)
    throw Error(options.model,
                "lies in other codes than the adapter was trained beside, which is " +
                    weights::settings_of(said->form),
                "Give that model, or the one in 16 bits");
  if (files == Stored::kPlain && said) beside = *said;
  for (const auto& [word, form] : kForms)
    if (options.beside == word) beside.form = form;
  for (const auto& type : choices(DType()))
    if (options.dtype == type.word) beside.dtype = type.value;
  return beside;
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
  const Stored files = weights::stored_in(options.model);
  refuse_contradictions(options, files);
  const train::TrainedBeside trained = beside_of(options, files);
  const Stored form = options.original ? Stored::kPlain : trained.form;
  RunConfig config;
  config.model.path = options.model;
  config.model.dtype = config.model.compute_dtype = trained.dtype;
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
    weights::set_form(config.model, trained.form);
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
                   "codes that the adapter was trained beside, where its folder does not "
                   "say: nf4-double, nf4-fp32-scales or int8")
      ->check(CLI::IsMember({"nf4-double", "nf4-fp32-scales", "int8"}))
      ->type_name("FORM");
  command
      ->add_option(
          "--dtype", options->dtype,
          "type of the result, and of the numbers that codes are made of: bf16 or "
          "fp32; of the files, or as the adapter's folder says")
      ->check(CLI::IsMember({"bf16", "fp32"}))
      ->type_name("TYPE");
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

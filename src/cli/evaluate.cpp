#include <cstdio>

#include "lowmem/config/validate.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/log.h"
#include "lowmem/core/plain_text.h"
#include "lowmem/core/units.h"
#include "lowmem/memory/meter.h"
#include "lowmem/train/exported.h"
#include "lowmem/train/out_of_memory.h"
#include "lowmem/train/results.h"
#include "lowmem/train/session.h"
#include "lowmem/weights/hf_folder.h"
#include "options.h"

namespace lowmem::cli {

namespace {

// The configuration of a run names the model that it began with.
void name_trained_model(const std::filesystem::path& config, const std::string& model,
                        const std::string& adapter) {
  if (config.empty()) return;
  const auto trained = config.parent_path() / "model";
  const auto beside = config.parent_path() / "adapter";
  if (is_there(beside)) {
    if (adapter.empty())
      log::warn("evaluates " + model + " without what the run made: adapter.path=" +
                shell_word(beside.string()));
    return;
  }
  if (!is_there(trained) || model == trained) return;
  log::warn("evaluates " + model + ", which the run began with; what it made is " +
            trained.string() + ": --model " + shell_word(trained.string()));
}

}  // namespace

void add_evaluate(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "evaluate", "accuracy and perplexity of a model folder: model.path on eval.data");
  const auto options = add_config_options(*command);
  auto rows = std::make_shared<std::string>();
  command
      ->add_option("--rows", *rows,
                   "also write every HellaSwag row's scores to this JSONL file")
      ->type_name("FILE");
  command->callback([options, rows] {
    RunConfig config = train::with_adapter_of_path(config_of(*options));
    // How it began is of no matter any more.
    if (!config.adapter.path.empty()) {
      config.adapter.init = AdapterInit::kDefault;
      config.adapter.loftq_iterations = 1;
    }
    if (!rows->empty()) refuse_another_file(*rows, "\"log_likelihoods\":", "--rows");
    validate(config, Purpose::kEvaluate);
    name_trained_model(options->file, config.model.path, config.adapter.path);
    const c10::Device device = train::open_device(config.memory);
    const auto shape = model::read_model_config(config.model.path);
    auto tokenizer = open_tokenizer(config.model.path);
    int64_t skipped_rows = 0;
    const auto evaluation =
        train::make_evaluation(config, shape, *tokenizer, device, skipped_rows);
    if (!rows->empty() && !evaluation->hellaswag)
      throw Error("--rows " + *rows, "is for HellaSwag rows, and eval.data has none",
                  "Leave it out");
    tokenizer.reset();
    memory::return_free_memory();
    RunConfig untrained = config;  // nothing is kept beside the weights
    untrained.memory.states = StatesMode::kDevice;
    untrained.memory.kept = KeptMode::kDevice;
    if (!train::makes_adapter(config)) untrained.model.train = {};
    weights::check_folder(train::weight_specs(untrained, shape), config.model.path);
    if (config.memory.budget != "0")
      log::warn("memory.budget is of training: this evaluates with memory.weights = " +
                std::string(word_of(config.memory.weights)));
    if (train::makes_adapter(config) && config.adapter.path.empty())
      log::warn("adapter.kind = " + std::string(word_of(config.adapter.kind)) +
                " without adapter.path: the adapter is one that was never trained");
    const train::HousedModel house = train::house_model(untrained, shape, device);
    train::load_weights(config, *house.home);
    train::begin_adapter(config, *house.home);
    const auto result = [&] {
      try {
        return evaluation->run(house.walk(), train::sliced_loss(device),
                               eval::HellaSwag::kTokensAtOnce);
      } catch (const std::exception& failure) {
        const std::string asked = memory::asked_of(failure);
        if (asked.empty()) throw;
        if (const auto limit = train::too_tight_a_limit(failure)) throw *limit;
        throw Error(device.is_cpu() ? "memory" : "the GPU's memory",
                    "is exhausted: " + asked + " do not fit beside the " +
                        format_bytes(house.table->bytes()) + " of the weights",
                    "Use a smaller eval.batch_size, or model.dtype = bf16 with "
                    "model.compute_dtype = bf16");
      }
    }();
    const train::Scores scores = result.scores();
    if (const auto& a = scores.accuracy)
      std::printf("acc %.4f\nacc_norm %.4f\nrows %lld\n", a->acc, a->acc_norm,
                  static_cast<long long>(a->count));
    if (const auto& l = scores.likelihood)
      std::printf("loss %.4f\nperplexity %.4f\ntokens %lld\n", l->loss, l->perplexity(),
                  static_cast<long long>(l->tokens));
    if (!rows->empty()) train::write_evaluation(*rows, *result.hellaswag);
  });
}

}  // namespace lowmem::cli

#include "lowmem/train/plan.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "lowmem/config/validate.h"
#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/core/units.h"
#include "lowmem/memory/meter.h"
#include "lowmem/model/config.h"
#include "lowmem/train/exported.h"
#include "lowmem/train/fit.h"
#include "lowmem/train/methods.h"
#include "options.h"

namespace lowmem::cli {
namespace {

struct PlanOptions {
  bool json = false;
  bool methods = false;
  std::string fit;
};

nlohmann::ordered_json to_json(const train::Proposal& proposal) {
  nlohmann::ordered_json json = {{"overrides", proposal.overrides()},
                                 {"changes", nlohmann::ordered_json::array()},
                                 {"times_as_long", proposal.times_as_long},
                                 {"plan", proposal.plan.to_json()}};
  for (const train::Change& change : proposal.changes)
    json["changes"].push_back({{"overrides", change.overrides}, {"cost", change.cost}});
  return json;
}

nlohmann::ordered_json to_json(const std::vector<train::Method>& methods) {
  auto all = nlohmann::ordered_json::array();
  for (const train::Method& method : methods) {
    nlohmann::ordered_json json = {{"name", method.name},
                                   {"overrides", method.overrides}};
    if (method.refused.empty()) {
      json["trained_parameters"] = method.trained;
      json["plan"] = method.plan.to_json();
    } else {
      json["refused"] = method.refused;
    }
    all.push_back(std::move(json));
  }
  return all;
}

void print(const std::string& text) { std::printf("%s\n", text.c_str()); }

// What a plan can do without, and the run cannot.
void warn_of_dropout(const std::string& model) {
  try {
    model::refuse_dropout(model);
  } catch (const Error& error) {
    log::warn("train will refuse " + error.thing() + ", which " + error.problem() + ". " +
              error.remedy());
  }
}

void run(const RunConfig& config, const PlanOptions& options) {
  const int64_t bytes = options.fit.empty() ? 0 : parse_bytes(options.fit);
  const train::Inputs inputs = train::read_inputs(config);
  warn_of_dropout(config.model.path);
  if (options.methods) {
    const auto methods =
        train::plan_methods(config, inputs, train::make_plan(config, inputs));
    return print(options.json ? to_json(methods).dump(2) : to_text(methods));
  }
  const train::Proposal chosen =
      train::within_budget(config, inputs, train::make_plan(config, inputs));
  const train::Plan& plan = chosen.plan;
  if (options.fit.empty()) {
    auto json = plan.to_json();
    if (config.memory.budget != "0") json["overrides"] = chosen.overrides();
    std::string text = plan.to_text();
    if (config.memory.budget != "0")
      text += "\n  within the budget     " +
              (chosen.changes.empty() ? "as it is" : chosen.overrides());
    return print(options.json ? json.dump(2) : text);
  }
  int64_t least = 0;
  const auto proposal = train::fit(chosen.config, inputs, bytes, plan, nullptr, &least);
  if (!proposal)
    throw Error(format_bytes(bytes),
                "is too little with any setting that was tried: the smallest peak is " +
                    format_bytes_up(least),
                "Use a smaller model, train.batch_size or data.max_length");
  print(options.json ? to_json(*proposal).dump(2) : proposal->to_text());
}

}  // namespace

void add_plan(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "plan", "what a run will need, item by item, before anything is loaded");
  const auto config = add_config_options(*command);
  auto options = std::make_shared<PlanOptions>();
  command->add_flag("--json", options->json, "print JSON, in bytes and seconds");
  command->add_flag("--methods", options->methods,
                    "what all weights, LoRA and its kin, and codes would need");
  command
      ->add_option(
          "--fit", options->fit,
          "propose settings whose peak is at most this: nearest in result, then fastest")
      ->type_name("BYTES")
      ->excludes("--methods");
  command->callback([config, options] {
    const RunConfig resolved = train::with_adapter_of_path(config_of(*config));
    validate(resolved, Purpose::kTrain);
    try {
      run(resolved, *options);
    } catch (const std::exception& failure) {
      if (memory::asked_of(failure).empty()) throw;
      throw Error("memory",
                  "cannot be planned: the process may not have enough addresses",
                  "Lift the limit, as with `ulimit -v unlimited`");
    }
  });
}

}  // namespace lowmem::cli

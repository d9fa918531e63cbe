#include <utility>

#include "config/checks.h"
#include "lowmem/config/rules.h"
#include "lowmem/config/validate.h"
#include "lowmem/core/error.h"
#include "lowmem/core/units.h"

namespace lowmem {
namespace {

// Beginnings that are made of the model's matrix.
void check_adapter_init(const RunConfig& config) {
  const AdapterConfig& adapter = config.adapter;
  const std::string init = assigned("adapter.init", adapter.init);
  const QuantizeMode quantize = config.model.quantize;
  check_count("adapter.loftq_iterations", adapter.loftq_iterations, 1);
  if (adapter.init != AdapterInit::kLoftq && adapter.loftq_iterations > 1)
    throw Error(assigned("adapter.loftq_iterations", adapter.loftq_iterations),
                "is not read with " + init,
                "Set adapter.init = loftq with model.quantize = nf4, or remove it");
  if (adapter.init == AdapterInit::kDefault) return;
  if (!adapter.path.empty())
    throw Error(init, "is of an adapter that begins, and adapter.path names one that has",
                "Remove one of the two");
  if (adapter.init == AdapterInit::kLoftq && quantize != QuantizeMode::kNf4)
    throw Error(init,
                "makes up for what model.quantize = nf4 loses, and it is " +
                    std::string(word_of(quantize)),
                "Set model.quantize = nf4, or adapter.init = default");
  if ((adapter.init == AdapterInit::kPissa || adapter.init == AdapterInit::kOlora) &&
      quantize != QuantizeMode::kNone)
    throw Error(init,
                "takes a part of the model's matrices, which codes cannot give: " +
                    assigned("model.quantize", quantize),
                "Set adapter.init = loftq with model.quantize = nf4, or model.quantize = "
                "none");
}

// Keys that AdaLoRA alone reads.
bool is_of_adalora(const std::string& key) {
  for (const char* own :
       {"target_rank", "tinit", "tfinal", "delta_t", "beta1", "beta2", "orth_reg_weight"})
    if (key == own) return true;
  return false;
}

// And those that it has nothing for.
bool is_not_of_adalora(const std::string& key) {
  for (const char* other :
       {"rank_stabilized", "rank_pattern", "alpha_pattern", "init", "loftq_iterations"})
    if (key == other) return true;
  return false;
}

// Refuses a key that was given to a kind of adapter that does not read it.
void check_unused(AdapterConfig adapter) {
  AdapterConfig unset;
  const bool adalora = adapter.kind == AdapterKind::kAdalora;
  adapter.visit([&](const std::string& key, const auto& value, Alters, const char*) {
    if (adalora ? !is_not_of_adalora(key) : !is_of_adalora(key)) return;
    unset.visit([&](const std::string& other, const auto& usual, Alters, const char*) {
      if (key == other && format_value(value) != format_value(usual))
        throw Error(assigned("adapter." + key, value),
                    "is not read with " + assigned("adapter.kind", adapter.kind),
                    adalora ? "Remove it: all layers begin with the same rank and scale, "
                              "and with the same draw"
                            : "Set adapter.kind = adalora, or remove it");
    });
  });
}

// Of a uniform rank at first and the mean that is left.
void check_ranks(const RunConfig& config) {
  const AdapterConfig& adapter = config.adapter;
  check_count("adapter.tinit", adapter.tinit, 0);
  check_count("adapter.tfinal", adapter.tfinal, 0);
  check_count("adapter.delta_t", adapter.delta_t, 1);
  for (const auto& [key, beta] : {std::pair{"adapter.beta1", adapter.beta1},
                                  std::pair{"adapter.beta2", adapter.beta2}})
    if (!(beta > 0 && beta < 1))
      throw Error(assigned(key, beta), "must be between 0 and 1, and neither of them",
                  "Write a number such as 0.85");
  check_not_negative("adapter.orth_reg_weight", adapter.orth_reg_weight);
  if (adapter.target_rank.count)
    check_count("adapter.target_rank", *adapter.target_rank.count, 1);
  // An adapter that is there may have come down to its ranks.
  const bool begins = adapter.path.empty() || adapter.target_rank.count;
  if (begins && target_rank(adapter) >= adapter.rank)
    throw Error(
        "adapter.target_rank = " + std::to_string(target_rank(adapter)),
        "leaves nothing to take away from " + assigned("adapter.rank", adapter.rank),
        "Set adapter.rank to more, such as 12 for 8, or adapter.kind = lora");
  if (adapter.tfinal > 0) return;
  for (const auto& [given, key] :
       {std::pair{config.train.keep_best, "train.keep_best"},
        std::pair{config.train.stop_after > 0, "train.stop_after"}})
    if (given)
      throw Error(key,
                  "compares evaluations with the ranks that are left, and with "
                  "adapter.tfinal = 0 there is one alone",
                  "Set adapter.tfinal to the steps that the adapter is to train with "
                  "them, or remove it");
}

}  // namespace

void check_adapter(const RunConfig& config) {
  AdapterConfig adapter = config.adapter, unset;
  if (adapter.kind == AdapterKind::kNone) {
    adapter.visit([&](const std::string& key, const auto& value, Alters, const char*) {
      unset.visit([&](const std::string& other, const auto& usual, Alters, const char*) {
        if (key == other && format_value(value) != format_value(usual))
          throw Error(assigned("adapter." + key, value),
                      "is not read with adapter.kind = none",
                      "Set adapter.kind to lora, dora or adalora, or remove it");
      });
    });
    return;
  }
  if (config.model.train != ModelConfig().train)
    throw Error(assigned("model.train", config.model.train),
                "is not read with " + assigned("adapter.kind", adapter.kind) +
                    ", which trains the adapter and nothing else",
                "Name what is to be trained beside it in adapter.also_train");
  check_spelling("adapter.path", adapter.path);
  check_count("adapter.rank", adapter.rank, 1);
  check_positive("adapter.alpha", adapter.alpha);
  check_fraction("adapter.dropout", adapter.dropout);
  check_positive("adapter.lr_ratio", adapter.lr_ratio);
  check_unused(adapter);
  if (adapter.kind == AdapterKind::kAdalora) check_ranks(config);
  check_adapter_init(config);
  check_texts("adapter.targets", adapter.targets,
              "Write names such as q_proj, patterns, or all-linear");
}

void check_rank_schedule(const AdapterConfig& adapter, int64_t steps) {
  if (adapter.kind != AdapterKind::kAdalora || steps == 0) return;
  // Until the cut after step `settled`; that cut is by the scores of the step before.
  const int64_t settled = steps - adapter.tfinal;
  if (adapter.tinit < settled && settled > 1) return;
  const bool late = adapter.tinit > 0 && adapter.tinit >= adapter.tfinal;
  throw Error(late                 ? assigned("adapter.tinit", adapter.tinit)
              : adapter.tfinal > 0 ? assigned("adapter.tfinal", adapter.tfinal)
                                   : assigned("adapter.kind", adapter.kind),
              "has no step to bring the ranks down by: the run has " +
                  format_count(steps, "step") + ", of which ranks are as they begin in " +
                  "the first " + std::to_string(adapter.tinit) + " and settled in the " +
                  "last " + std::to_string(adapter.tfinal),
              "Set adapter.tinit and adapter.tfinal to less, or train for longer");
}

}  // namespace lowmem

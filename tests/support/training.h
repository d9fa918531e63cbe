#pragma once

// What tests of optimizers and of training share: the batches and settings of
// tests/fixtures/training.

#include <algorithm>
#include <optional>

#include "lowmem/config/overrides.h"
#include "lowmem/engine/step.h"
#include "lowmem/weights/selection.h"
#include "support/tensors.h"
#include "support/wandering_home.h"

namespace lowmem::test {

// Sequences of batches.json as one micro-batch.
inline engine::MicroBatch micro_batch(const model::Llama& llama,
                                      const nlohmann::json& sequences,
                                      int64_t multiple = 0) {
  std::vector<std::vector<int32_t>> ids;
  std::vector<int64_t> labelled, labels;
  int64_t token = 0;
  for (const nlohmann::json& sequence : sequences) {
    ids.push_back(sequence.at("ids").get<std::vector<int32_t>>());
    for (const int64_t label : sequence.at("labels").get<std::vector<int64_t>>()) {
      if (label >= 0) {
        labelled.push_back(token);
        labels.push_back(label);
      }
      ++token;
    }
  }
  engine::MicroBatch part;
  part.packed = pack(llama, ids, multiple);
  part.rows = model::select_rows(part.packed, labelled);
  part.labels = at::tensor(labels, at::kLong).to(llama.device());
  return part;
}

// A batch of batches.json, `size` sequences a micro-batch.
inline std::vector<engine::MicroBatch> micro_batches(const model::Llama& llama,
                                                     const nlohmann::json& batch,
                                                     size_t size, int64_t multiple = 0) {
  std::vector<engine::MicroBatch> parts;
  for (size_t at = 0; at < batch.size(); at += size) {
    nlohmann::json part = nlohmann::json::array();
    for (size_t k = at; k < std::min(batch.size(), at + size); ++k)
      part.push_back(batch[k]);
    parts.push_back(micro_batch(llama, part, multiple));
  }
  return parts;
}

// The `optimizer` of a reference file, and its `schedule` where it has one.
inline OptimizerConfig optimizer_config(const nlohmann::json& curve) {
  RunConfig config;
  for (const auto& [key, value] : curve.at("optimizer").items()) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (key == "betas") {
      config.optimizer.beta1 = value[0].get<double>();
      config.optimizer.beta2 = value[1].get<double>();
    } else {
      set_key(config, "optimizer." + key, text);
    }
  }
  if (curve.contains("schedule") && !curve.at("schedule").is_null()) {
    const nlohmann::json& schedule = curve.at("schedule");
    set_key(config, "optimizer.schedule", schedule.at("name").get<std::string>());
    config.optimizer.warmup_steps = schedule.value("warmup_steps", 0);
  }
  return config.optimizer;
}

struct Policies {
  OrCount<ActivationsMode> activations = ActivationsMode::kKeep;
  GradientsMode gradients = GradientsMode::kAccumulate;
  GraphsMode graphs = GraphsMode::kFalse;
  bool wanders = false;  // in a WanderingHome
  KeptMode kept = KeptMode::kDevice;
  weights::HomeSetup home = {};
};

// A home over weights that are there.
inline std::unique_ptr<weights::Home> home_of(const model::Llama& llama,
                                              const Policies& policies) {
  if (policies.wanders) return std::make_unique<WanderingHome>(llama.table());
  weights::HomeSetup setup = policies.home;
  setup.device = llama.device();
  setup.scratch = testing::TempDir();
  return weights::make_home(setup, llama.table());
}

// An adapter whose ranks come down over so many steps.
struct ComingDown {
  AdapterConfig adapter;
  int64_t steps;
};

// A model in training.
struct Trainer {
  std::unique_ptr<model::Llama> llama;
  std::unique_ptr<weights::Home> home;
  engine::Walk walk;
  std::unique_ptr<weights::RankBudget> budget;  // or null
  std::unique_ptr<optim::Optimizer> optimizer;
  engine::Gradients gradients;
  std::unique_ptr<engine::Activations> activations;
  engine::Step step;
  double lr;

  Trainer(std::unique_ptr<model::Llama> model, const std::vector<std::string>& train,
          const OptimizerConfig& config, const Policies& policies,
          const loss::LossOptions& loss = {}, const std::optional<ComingDown>& ranks = {})
      : llama(selected(std::move(model), train)),
        home(home_of(*llama, policies)),
        walk(*llama, *home),
        budget(ranks ? std::make_unique<weights::RankBudget>(llama->table(),
                                                             ranks->adapter, ranks->steps)
                     : nullptr),
        optimizer(prepared(optim::make_optimizer(config, 42), *home, budget.get())),
        gradients(policies.gradients, *optimizer, *home, config.clip_norm, budget.get()),
        activations(engine::make_activations(policies.activations,
                                             {.blocks = llama->blocks().size(),
                                              .kept = policies.kept,
                                              .device = llama->device(),
                                              .scratch = testing::TempDir(),
                                              .ahead = policies.home.ahead,
                                              .graphs = policies.graphs,
                                              .hooks_replay = gradients.replays()})),
        step(walk, *activations, gradients, loss),
        lr(config.lr) {}

  engine::StepResult update(const std::vector<engine::MicroBatch>& batch,
                            int64_t number) {
    return step.run(batch, {number, lr, 1, false});
  }

 private:
  static std::unique_ptr<model::Llama> selected(std::unique_ptr<model::Llama> model,
                                                const std::vector<std::string>& train) {
    weights::select(model->table(), train);
    return model;
  }
  static std::unique_ptr<optim::Optimizer> prepared(
      std::unique_ptr<optim::Optimizer> optimizer, weights::Home& home,
      weights::RankBudget* budget) {
    home.make_states([&](const weights::Weight& weight) {
      auto states = optimizer->states_of(weight);
      if (budget != nullptr)
        for (auto& state : budget->states_of(weight)) states.push_back(std::move(state));
      return states;
    });
    if (budget != nullptr) budget->begin();
    return optimizer;
  }
};

// Every word of memory.activations, and a count, with every word of memory.gradients;
// with all of memory.kept, memory.weights and memory.states on the host, or each of them
// on the device or, for a CPU, on the disk.
inline std::vector<Policies> every_policy(c10::Device device = c10::kCPU) {
  std::vector<OrCount<ActivationsMode>> activations = {OrCount<ActivationsMode>::of(1)};
  for (const auto& choice : choices(ActivationsMode{}))
    activations.emplace_back(choice.value);
  std::vector<Policies> all;
  for (const auto& activation : activations)
    for (const auto& kept : choices(KeptMode{}))
      for (const auto& gradients : choices(GradientsMode{}))
        for (const auto& weights : choices(WeightsMode{}))
          for (const auto& states : choices(StatesMode{})) {
            if (states.value == StatesMode::kWithWeights) continue;  // one of the others
            const weights::HomeSetup home{
                .weights = weights.value, .states = states.value, .ahead = 0};
            const int on_host = (kept.value == KeptMode::kHost) +
                                (home.weights == WeightsMode::kHost) +
                                (home.states_live() == StatesMode::kHost);
            const bool on_disk = kept.value == KeptMode::kDisk ||
                                 home.weights == WeightsMode::kDisk ||
                                 home.states_live() == StatesMode::kDisk;
            if (on_host % 3 != 0 || (on_disk && !device.is_cpu())) continue;
            all.push_back({.activations = activation,
                           .gradients = gradients.value,
                           .kept = kept.value,
                           .home = home});
          }
  return all;
}

// A third of them, which by the test's name: the tests of a suite together have all, and
// each pair of words many times.
inline std::vector<Policies> a_third_of_every_policy() {
  const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
  size_t sum = 0;
  for (const char letter : name) sum += static_cast<unsigned char>(letter);
  const std::vector<Policies> all = every_policy();
  std::vector<Policies> some;
  for (size_t i = sum % 3; i < all.size(); i += 3) some.push_back(all[i]);
  return some;
}

// A copy of every weight by its name.
using State = std::map<std::string, at::Tensor>;

inline State copy_of(const model::Llama& llama) {
  State state;
  for (const auto& item : llama.named_parameters())
    state[item.key()] = item.value().detach().clone();
  return state;
}

inline State copy_of(const Trainer& trainer) {
  State state;
  for (size_t group = 0; group < trainer.home->table().groups(); ++group) {
    const auto lease = trainer.home->borrow(group, weights::Access::kRead);
    for (const weights::Weight* weight : trainer.home->table().group(group))
      state[weight->name()] =
          trainer.home->rows(*weight).slice(0, weight->spec.shape[0]).detach().clone();
  }
  return state;
}

// Changes a weight's numbers, wherever they live.
inline void change(Trainer& trainer, const char* name,
                   const std::function<void(at::Tensor&)>& how) {
  weights::Home& home = *trainer.home;
  weights::Weight& weight = home.table().at(name);
  const auto lease = home.borrow(weight.spec.group, weights::Access::kWrite);
  const at::NoGradGuard no_grad;
  at::Tensor numbers = home.rows(weight).slice(0, weight.spec.shape[0]).detach().clone();
  how(numbers);
  home.write(weight, [&](int64_t offset, std::span<std::byte> piece) {
    std::memcpy(piece.data(),
                static_cast<const std::byte*>(numbers.const_data_ptr()) + offset,
                piece.size());
  });
}

// `steps` updates of Adam over all weights.
inline void train_some(std::unique_ptr<model::Llama>& llama, int64_t steps) {
  OptimizerConfig config;
  config.name = OptimizerKind::kAdam;
  config.lr = 1e-3;
  const nlohmann::json batches = read_json(fixture("training/batches.json"));
  Trainer trainer(std::move(llama), {"all"}, config, {});
  for (int64_t step = 0; step < steps; ++step)
    trainer.update(micro_batches(*trainer.llama, batches[static_cast<size_t>(step)], 8),
                   step);
  llama = std::move(trainer.llama);
}

}  // namespace lowmem::test

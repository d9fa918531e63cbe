#include "lowmem/train/plan.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "lowmem/core/units.h"
#include "lowmem/kernels/device_memory.h"
#include "lowmem/model/hf_weights.h"
#include "lowmem/ops/cuda.h"
#include "lowmem/train/collate.h"

namespace lowmem::train {
namespace {

// An example, or a batch of them, as far as memory and time go.
struct Size {
  int64_t tokens = 0, labelled = 0;
  int64_t part = 0;  // tokens of a batch's largest micro-batch
};

std::vector<Size> sizes_of(const std::vector<Example>& examples) {
  std::vector<Size> sizes;
  sizes.reserve(examples.size());
  for (const Example& example : examples)
    sizes.push_back({tokens_read(example), example.labelled(), 0});
  return sizes;
}

Size size_of(const std::vector<int64_t>& batch, const std::vector<Size>& examples,
             int64_t micro_batch_size) {
  Size size;
  const auto rows =
      micro_batch_size > 0 ? static_cast<size_t>(micro_batch_size) : batch.size();
  int64_t part = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    const Size& example = examples[static_cast<size_t>(batch[i])];
    if (i % rows == 0) part = 0;
    size.tokens += example.tokens;
    size.labelled += example.labelled;
    part += example.tokens;
    size.part = std::max(size.part, part);
  }
  return size;
}

// What oneDNN takes beside its products does not quite grow with a batch, and counts for
// something in a small model: there several of the widest are rehearsed.
bool is_small(const model::LlamaConfig& shape) {
  constexpr int64_t kSmall = 50'000'000;
  return model::parameter_count(shape) < kSmall;
}

// The few batches that measure most.
class Largest {
 public:
  explicit Largest(size_t count) : count_(count) {}

  void offer(int64_t measure, const std::vector<int64_t>& batch) {
    if (found_.size() == count_ && measure <= found_.rbegin()->first) return;
    found_.emplace(measure, batch);
    if (found_.size() > count_) found_.erase(std::prev(found_.end()));
  }
  const auto& found() const { return found_; }

 private:
  size_t count_;
  std::multimap<int64_t, std::vector<int64_t>, std::greater<>> found_;
};

int64_t evaluations_of(const RunConfig& config, int64_t steps, int64_t steps_per_epoch) {
  const Interval& every = config.eval.every;
  int64_t count = steps > 0 ? 2 : 1;  // before and after
  if (every.unit == Interval::Unit::kNever || steps == 0) return count;
  const int64_t interval =
      every.unit == Interval::Unit::kEpoch ? steps_per_epoch : every.steps;
  return count + (steps - 1) / interval;
}

int64_t largest_weight_bytes(const RunConfig& config, const model::LlamaConfig& shape) {
  int64_t most = 0;
  for (const model::WeightSpec& spec : model::weight_specs(shape))
    most = std::max(most, spec.elements());
  return most * dtype_size(config.model.dtype);
}

// Rows that so many steps take: each epoch's last batch may be smaller.
int64_t rows_of(const TrainConfig& train, int64_t steps, const Texts& texts) {
  const auto rows = static_cast<int64_t>(texts.examples.size());
  const int64_t an_epoch = (rows + train.batch_size - 1) / train.batch_size;
  return steps / an_epoch * rows + std::min(steps % an_epoch * train.batch_size, rows);
}

// What cuBLAS takes at its first product, and keeps.
at::Tensor library_workspace(c10::Device device) {
  const ops::ItemScope item(ops::Item::kWorkspace);
  return at::empty({device.is_cpu() ? 0 : ops::cublas_workspace_bytes()}, at::kByte);
}

// The run in the order of train/trainer, as far as memory can tell.
engine::Rehearsed rehearse(const RunConfig& config, const Inputs& inputs,
                           const Work& work) {
  std::optional<ops::RehearsedGpu> gpu;
  if (!inputs.device.is_cpu())
    gpu = {kernels::cuda_multiprocessors(inputs.device.index())};
  const engine::Rehearsal rehearsal(gpu);
  {
    Session session(config, inputs);
    const at::Tensor workspace = library_workspace(inputs.device);
    const auto evaluate = [&] {
      const ops::ItemScope item(ops::Item::kEvaluation);
      if (work.evaluations > 0) session.evaluate();
    };
    evaluate();
    // The first makes the optimizer's state, the others find it there.
    for (size_t i = 0; i < work.rehearsed.size(); ++i) {
      session.begin(work.rehearsed[i], i > 0 ? 1 : 0, true).wait();
      engine::memory_meter::return_free_memory();
    }
    if (work.steps > 0) evaluate();
    const engine::PhaseScope save(engine::Phase::kSave);
  }
  return rehearsal.peaks();
}

std::string line(const std::string& name, const std::string& value) {
  std::string text = "  " + name;
  text.resize(std::max<size_t>(text.size() + 2, 24), ' ');
  return text + value + "\n";
}

std::string plain(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

engine::Phase peak_phase(const engine::Rehearsed& memory) {
  const auto most = std::max_element(memory.by_phase.begin(), memory.by_phase.end());
  return static_cast<engine::Phase>(most - memory.by_phase.begin());
}

}  // namespace

Work work_of(const RunConfig& config, const Inputs& inputs) {
  constexpr int64_t kMostRows = 5'000'000;  // looked at: some tenths of a second
  const Texts& texts = *inputs.texts;
  const std::vector<Size> sizes = sizes_of(texts.examples);
  Batches batches = order_of(config, texts);
  Work work;
  work.steps = total_steps(config.train, batches.steps_per_epoch());
  Largest tokens(is_small(inputs.shape) ? 4 : 1), labelled(1), part(1);
  int64_t seen = 0;
  for (int64_t step = 0; step < work.steps && seen < kMostRows; ++step) {
    const std::vector<int64_t> batch = batches.next();
    const Size size = size_of(batch, sizes, config.train.micro_batch_size);
    seen += static_cast<int64_t>(batch.size());
    work.tokens += size.tokens;
    work.labelled += size.labelled;
    work.largest_tokens = std::max(work.largest_tokens, size.tokens);
    if (step == 0) {
      // A large model's takes its time, and only makes the optimizer's state.
      const bool whole = is_small(inputs.shape) || work.steps == 1;
      work.rehearsed.push_back(whole ? batch : std::vector<int64_t>{batch.front()});
      if (whole) continue;
    }
    tokens.offer(size.tokens, batch);
    labelled.offer(size.labelled, batch);
    part.offer(size.part, batch);
  }
  work.examples = rows_of(config.train, work.steps, texts);
  if (work.examples > seen) {
    const double more = static_cast<double>(work.examples) / static_cast<double>(seen);
    work.tokens = static_cast<int64_t>(more * static_cast<double>(work.tokens));
    work.labelled = static_cast<int64_t>(more * static_cast<double>(work.labelled));
  }
  for (const Largest* largest : {&tokens, &labelled, &part})
    for (const auto& [unused, batch] : largest->found())
      if (std::find(work.rehearsed.begin() + 1, work.rehearsed.end(), batch) ==
          work.rehearsed.end())
        work.rehearsed.push_back(batch);
  if (texts.evaluation) {
    work.evaluations = evaluations_of(config, work.steps, batches.steps_per_epoch());
    work.evaluated_tokens = texts.evaluation->tokens();
  }
  return work;
}

Plan make_plan(const RunConfig& config, const Inputs& inputs, const Speed* speed) {
  Plan plan;
  plan.on_cpu = inputs.device.is_cpu();
  plan.work = work_of(config, inputs);
  plan.memory = rehearse(config, inputs, plan.work);
  plan.program = engine::memory_meter::program_bytes();
  plan.staging = plan.on_cpu ? 0 : largest_weight_bytes(config, inputs.shape);
  plan.free = engine::memory_meter::free_bytes();
  if (plan.on_cpu)
    plan.seconds = estimate_seconds(
        config, inputs.shape, plan.work,
        speed != nullptr ? *speed : measure_speed(config, inputs, plan.work));
  return plan;
}

nlohmann::ordered_json Plan::to_json() const {
  nlohmann::ordered_json peaks = {{"total", memory.peak}}, items;
  for (size_t i = 0; i < engine::kPhases; ++i)
    peaks[engine::phase_name(static_cast<engine::Phase>(i))] = memory.by_phase[i];
  for (size_t i = 0; i < ops::kItems; ++i)
    items[ops::item_name(static_cast<ops::Item>(i))] = memory.items[i];
  return {{"device", on_cpu ? "cpu" : "cuda"},
          {"peak_bytes", peaks},
          {"items", items},
          {"host_bytes", on_cpu ? memory.peak + program : program + staging},
          {"free_bytes", free},
          {"steps", work.steps},
          {"examples", work.examples},
          {"tokens", work.tokens},
          {"labelled_tokens", work.labelled},
          {"largest_batch_tokens", work.largest_tokens},
          {"evaluations", work.evaluations},
          {"seconds", on_cpu ? nlohmann::ordered_json(seconds) : nullptr}};
}

std::string Plan::to_text() const {
  std::string text = "plan: " + format_count(work.steps) + " steps over " +
                     format_count(work.examples) + " rows, batches of at most " +
                     format_count(work.largest_tokens) + " tokens" +
                     (on_cpu ? "; about " + format_seconds(seconds) : "") + "\n";
  for (size_t i = 0; i < ops::kItems; ++i)
    if (memory.items[i] > 0)
      text += line(plain(ops::item_name(static_cast<ops::Item>(i))),
                   format_bytes(memory.items[i]));
  text += line("peak", format_bytes(memory.peak) + ", in " +
                           engine::phase_name(peak_phase(memory)) + ", of " +
                           format_bytes(free) + " free");
  std::string phases;
  for (size_t i = 0; i < engine::kPhases; ++i)
    phases += (i > 0 ? ", " : "") +
              std::string(engine::phase_name(static_cast<engine::Phase>(i))) + " " +
              format_bytes(memory.by_phase[i]);
  return text + line("by phase", phases) + "  host                  " +
         (on_cpu ? format_bytes(program) + " for the program itself, beside these"
                 : format_bytes(program + staging));
}

}  // namespace lowmem::train

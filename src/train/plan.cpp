#include "lowmem/train/plan.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "lowmem/core/units.h"
#include "lowmem/kernels/device_memory.h"
#include "lowmem/memory/limits.h"
#include "lowmem/memory/meter.h"
#include "lowmem/metrics/progress.h"
#include "lowmem/ops/cuda.h"
#include "lowmem/ops/pieces.h"
#include "lowmem/train/collate.h"
#include "lowmem/train/exported.h"
#include "lowmem/weights/quantized.h"

namespace lowmem::train {
namespace {

// An example, or a batch of them, as far as memory and time go.
struct Size {
  int64_t tokens = 0, labelled = 0;
  double attended = 0;
  int64_t part = 0, labelled_part = 0;  // the most in a micro-batch
};

// Pairs of a token and one that it sees, in the mean of all layers.
double attended(double length, const RunConfig& config, const model::Config& shape) {
  const double all = length * (length + 1) / 2;
  const auto group = static_cast<double>(config.model.span_group);
  if (config.model.attention_span == AttentionSpan::kShifted && length > group)
    return length * (group + 1) / 2;
  const auto window = static_cast<double>(shape.sliding_window);
  if (window == 0 || length <= window) return all;
  const double near = window * (window + 1) / 2 + (length - window) * window;
  double sum = 0;
  for (int64_t i = 0; i < shape.num_hidden_layers; ++i)
    sum += shape.layer(i).window ? near : all;
  return sum / static_cast<double>(shape.num_hidden_layers);
}

std::vector<Size> sizes_of(const std::vector<Example>& examples, const RunConfig& config,
                           const model::Config& shape) {
  std::vector<Size> sizes;
  sizes.reserve(examples.size());
  for (const Example& example : examples) {
    const int64_t read = tokens_read(example);
    sizes.push_back(
        {read, example.labelled(), attended(static_cast<double>(read), config, shape)});
  }
  return sizes;
}

Size size_of(const std::vector<int64_t>& batch, const std::vector<Size>& examples,
             int64_t micro_batch_size) {
  Size size;
  const auto rows =
      micro_batch_size > 0 ? static_cast<size_t>(micro_batch_size) : batch.size();
  int64_t part = 0, labelled_part = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    const Size& example = examples[static_cast<size_t>(batch[i])];
    if (i % rows == 0) part = labelled_part = 0;
    size.tokens += example.tokens;
    size.labelled += example.labelled;
    size.attended += example.attended;
    part += example.tokens;
    labelled_part += example.labelled;
    size.part = std::max(size.part, part);
    size.labelled_part = std::max(size.labelled_part, labelled_part);
  }
  return size;
}

// What oneDNN takes beside its products does not quite grow with a batch, and counts for
// something in a small model: there several of the widest are rehearsed.
bool is_small(const model::Config& shape) {
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

// From `begin` on: before the first step, after the last, and in between.
int64_t evaluations_of(const RunConfig& config, int64_t begin, int64_t end,
                       int64_t steps_per_epoch) {
  if (begin >= end) return 1;
  const int64_t around = begin == 0 ? 2 : 1;
  const Interval& every = config.eval.every;
  if (every.unit == Interval::Unit::kNever) return around;
  const int64_t interval =
      every.unit == Interval::Unit::kEpoch ? steps_per_epoch : every.steps;
  return around + (end - 1) / interval - begin / interval;
}

// Rows that the steps up to this one take: each epoch's last batch may be smaller.
int64_t rows_up_to(int64_t step, const TrainConfig& train, int64_t rows) {
  const int64_t an_epoch = (rows + train.batch_size - 1) / train.batch_size;
  return step / an_epoch * rows + std::min(step % an_epoch * train.batch_size, rows);
}

// What cuBLAS takes at its first product, and keeps.
at::Tensor library_workspace(c10::Device device) {
  const memory::Scope item(memory::Item::kWorkspace);
  return at::empty({device.is_cpu() ? 0 : ops::cublas_workspace_bytes()}, at::kByte);
}

std::optional<memory::RehearsedGpu> gpu_of(const Inputs& inputs) {
  if (inputs.device.is_cpu()) return std::nullopt;
  return memory::RehearsedGpu{kernels::cuda_multiprocessors(inputs.device.index())};
}

// A GPU's weights come through the host, and go, a piece at a time, beside those that
// live there. In this order it is no peak of loading, when there are no states yet.
void pass_through_host(weights::Home& home) {
  const memory::Scope scope(memory::Phase::kUpdate, memory::Item::kWeights);
  int64_t largest = 0;
  for (size_t group = 0; group < home.table().groups(); ++group) {
    const weights::Lease lease = home.borrow(group, weights::Access::kRead);
    for (weights::Weight* weight : home.table().group(group)) {
      if (weight->by_rows)
        home.write(*weight, [](int64_t, std::span<std::byte>) {});
      else
        largest = std::max(largest, weight->bytes());
    }
  }
  const memory::OnHost on_host;
  weights::room_to_quantize(home.table());
  at::empty({std::min(ops::kPieceBytes, largest)}, at::kByte);
}

// The run in the order of train/trainer, as far as memory can tell. `step_seconds`: what
// a step takes without its arithmetic.
memory::Rehearsed rehearse(const RunConfig& config, const Inputs& inputs, Work& work,
                           double& step_seconds, Written& written,
                           weights::Traffic& traffic) {
  using Clock = std::chrono::steady_clock;
  const memory::Rehearsal rehearsal(gpu_of(inputs));
  {
    at::Tensor workspace;
    // DoRA's magnitudes are norms of sums with products.
    if (config.adapter.kind == AdapterKind::kDora)
      workspace = library_workspace(inputs.device);
    Session session(config, inputs);
    if (!inputs.device.is_cpu()) pass_through_host(session.home());
    if (!workspace.defined()) workspace = library_workspace(inputs.device);
    work.evaluated_together = session.evaluation_tokens();
    const auto evaluate = [&] {
      const memory::Scope item(memory::Item::kEvaluation);
      if (work.evaluations > 0) session.rehearse_evaluation();
    };
    evaluate();
    // A single one twice: what a first step takes beside is no step's time.
    std::vector<std::vector<int64_t>> rehearsed = work.rehearsed;
    if (rehearsed.size() == 1) rehearsed.push_back(rehearsed.front());
    for (size_t i = 0; i < rehearsed.size(); ++i) {
      const auto before = Clock::now();
      const weights::Traffic moved = session.traffic();
      session.begin(rehearsed[i], i > 0 ? 1 : 0, true).wait();
      // In the first, more is there already than in those that follow.
      const weights::Traffic now = session.traffic().since(moved);
      if (i > 0 && now.read + now.written > traffic.read + traffic.written) traffic = now;
      const double seconds = std::chrono::duration<double>(Clock::now() - before).count();
      // Other work on the machine makes one longer.
      step_seconds = i < 2 ? seconds : std::min(step_seconds, seconds);
      memory::return_free_memory();
    }
    if (work.steps > 0) evaluate();
    // What lies in codes is written as numbers.
    int64_t model = 0;
    for (const weights::Spec& spec : weights::model_specs(session.table()))
      model += spec.elements() * dtype_size(config.model.dtype);
    written.stored = session.weight_bytes();
    written.weights = std::max(written.stored, model);
    written.beside = session.optimizer_bytes();
    written.working = session.disk_bytes();
    for (const weights::Weight& weight : session.table().all())
      if (weight.trained) written.trained += weight.bytes();
    const memory::Scope save(memory::Phase::kSave, memory::Item::kSave);
    rehearse_saving(config, session.home());
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

memory::Phase peak_phase(const memory::Rehearsed& memory) {
  const auto most = std::max_element(memory.by_phase.begin(), memory.by_phase.end());
  return static_cast<memory::Phase>(most - memory.by_phase.begin());
}

}  // namespace

Work work_of(const RunConfig& config, const Inputs& inputs, const Checkpoint* from) {
  constexpr int64_t kMostRows =
      5'000'000;  // after the first epoch: some tenths of a second
  const Texts& texts = *inputs.texts;
  const std::vector<Size> sizes = sizes_of(texts.examples, config, inputs.shape);
  const auto rows = static_cast<int64_t>(sizes.size());
  Batches batches = order_of(config, texts);
  const int64_t an_epoch = batches.steps_per_epoch();
  const int64_t begin = from != nullptr ? from->state.step : 0;
  const int64_t end = std::max(begin, total_steps(config.train, an_epoch));
  if (from != nullptr) batches.seek(from->state.cursor);
  Work work;
  work.steps = end - begin;
  Largest tokens(is_small(inputs.shape) ? 4 : 1), labelled(1), part(1), labelled_part(1);
  int64_t seen = 0;
  for (int64_t step = 0; step < work.steps && seen < std::max(rows, kMostRows); ++step) {
    const std::vector<int64_t> batch = batches.next();
    const Size size = size_of(batch, sizes, config.train.micro_batch_size);
    seen += static_cast<int64_t>(batch.size());
    work.tokens += size.tokens;
    work.labelled += size.labelled;
    work.attended += size.attended;
    work.largest_tokens = std::max(work.largest_tokens, size.tokens);
    tokens.offer(size.tokens, batch);
    labelled.offer(size.labelled, batch);
    part.offer(size.part, batch);
    labelled_part.offer(size.labelled_part, batch);
  }
  work.examples =
      rows_up_to(end, config.train, rows) - rows_up_to(begin, config.train, rows);
  if (work.examples > seen) {
    const double more = static_cast<double>(work.examples) / static_cast<double>(seen);
    work.tokens = static_cast<int64_t>(more * static_cast<double>(work.tokens));
    work.labelled = static_cast<int64_t>(more * static_cast<double>(work.labelled));
    work.attended *= more;
  }
  for (const Largest* largest : {&tokens, &labelled, &part, &labelled_part})
    for (const auto& [unused, batch] : largest->found())
      if (std::find(work.rehearsed.begin(), work.rehearsed.end(), batch) ==
          work.rehearsed.end())
        work.rehearsed.push_back(batch);
  if (texts.evaluation) {
    work.evaluations = evaluations_of(config, begin, end, an_epoch);
    work.evaluated_tokens = texts.evaluation->tokens();
  }
  return work;
}

AtRest at_rest(const RunConfig& config, const Inputs& inputs) {
  const memory::Rehearsal rehearsal(gpu_of(inputs));
  Session session(config, inputs);
  AtRest rest{memory::device_ledger().current() - rehearsal.began_with(),
              session.table().trained_elements(), 0};
  for (const weights::Weight& weight : session.table().all())
    if (weight.trained && !weight.by_rows) rest.whole_elements += weight.spec.elements();
  return rest;
}

Plan make_plan(const RunConfig& config, const Inputs& inputs, const Checkpoint* from,
               const Speed* speed) {
  const metrics::Progress progress("planning");
  Plan plan;
  plan.on_cpu = inputs.device.is_cpu();
  plan.work = work_of(config, inputs, from);
  plan.speed = speed != nullptr ? *speed : measure_speed(config, inputs, plan.work);
  Written written;
  plan.memory =
      rehearse(config, inputs, plan.work, plan.speed.step, written, plan.traffic);
  const int64_t every = config.train.save_every, begun = from ? from->state.step : 0;
  const int64_t end = begun + plan.work.steps;
  if (every > 0) written.saves = end / every;
  written.evaluations = plan.work.evaluations;
  plan.disk = disk_need(config, written);
  plan.disk_free = free_disk(std::filesystem::path(config.run.dir) / config.run.name);
  plan.program = memory::program_bytes();
  plan.free = memory::free_bytes();
  plan.host_free = std::min(memory::available_bytes(),
                            memory::machine_bytes() - memory::program_bytes());
  if (plan.on_cpu)
    plan.seconds = estimate_seconds(config, inputs.shape, plan.work, plan.speed);
  return plan;
}

nlohmann::ordered_json Plan::to_json() const {
  nlohmann::ordered_json peaks = {{"total", memory.peak}}, items;
  for (size_t i = 0; i < memory::kPhases; ++i)
    peaks[memory::phase_name(static_cast<memory::Phase>(i))] = memory.by_phase[i];
  for (size_t i = 0; i < memory::kItems; ++i)
    items[memory::item_name(static_cast<memory::Item>(i))] = memory.items[i];
  return {{"device", on_cpu ? "cpu" : "cuda"},
          {"peak_bytes", peaks},
          {"items", items},
          {"host_peak_bytes", memory.host_peak},
          {"host_bytes", on_cpu ? memory.peak + program : program + memory.host_peak},
          {"free_bytes", free},
          {"step_read_bytes", traffic.read},
          {"step_written_bytes", traffic.written},
          {"disk_bytes", disk.more()},
          {"scratch_bytes", disk.working + disk.elsewhere},
          {"disk_free_bytes",
           disk_free < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(disk_free)},
          {"steps", work.steps},
          {"examples", work.examples},
          {"tokens", work.tokens},
          {"labelled_tokens", work.labelled},
          {"largest_batch_tokens", work.largest_tokens},
          {"evaluations", work.evaluations},
          {"seconds", on_cpu ? nlohmann::ordered_json(seconds) : nullptr}};
}

std::string Plan::to_text() const {
  std::string text = "plan: " + format_count(work.steps, "step") + " over " +
                     format_count(work.examples, "row") + ", batches of at most " +
                     format_count(work.largest_tokens, "token") +
                     (on_cpu ? "; about " + format_seconds(seconds) : "") + "\n";
  for (size_t i = 0; i < memory::kItems; ++i)
    if (memory.items[i] > 0)
      text += line(plain(memory::item_name(static_cast<memory::Item>(i))),
                   format_bytes(memory.items[i]));
  text += line("peak", format_bytes(memory.peak) + ", in " +
                           memory::phase_name(peak_phase(memory)) + ", of " +
                           format_bytes(free) + " free");
  constexpr size_t kInALine = 3;
  std::string phases;
  for (size_t i = 0; i < memory::kPhases; ++i) {
    phases += std::string(memory::phase_name(static_cast<memory::Phase>(i))) + " " +
              format_bytes(memory.by_phase[i]);
    if (i + 1 == memory::kPhases || (i + 1) % kInALine == 0) {
      text += line(i < kInALine ? "by phase" : "", phases);
      phases.clear();
    } else {
      phases += ", ";
    }
  }
  if (traffic.read > 0)
    text += line("a step", "reads " + format_bytes(traffic.read) + " and writes " +
                               format_bytes(traffic.written));
  if (disk.elsewhere > 0)
    text += line("scratch", format_bytes_up(disk.elsewhere) + " in memory.scratch");
  text += line("disk",
               format_bytes_up(disk.more()) + " more" +
                   (disk_free < 0 ? "" : ", of " + format_bytes(disk_free) + " free"));
  return text + "  host                  " +
         (on_cpu ? format_bytes(program) + " for the program itself, beside these"
                 : format_bytes(program + memory.host_peak));
}

}  // namespace lowmem::train

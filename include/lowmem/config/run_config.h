#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/config/choices.h"

// Everything a run can be told. One visit() a section drives the YAML loader, the command
// line's overrides, --help, the saved config.yaml, what a resumed run may change and what
// a report compares, so that a new key is a member with its default and its line in
// visit(). What it must not be, alone or beside others, is validate()'s.
//
// A key may be a std::string, StringList, int64_t, double, AutoDouble, bool, Interval, an
// enumeration with choices(), or such a word OrCount or OrText. Its doc is one line: what
// it means and its unit.
namespace lowmem {

// What a key may alter, against the same run with another value.
enum class Alters {
  kNothing,   // a name, or how often something is kept
  kLog,       // how a run is summed up
  kChance,    // the draw, not the method: the seed, the day
  kPlace,     // nothing by itself: where files are, whose content is looked at
  kCost,      // memory and time, and no bit of the result
  kLength,    // when the run ends
  kRounding,  // the result's last bits
  kResult,
};

// In YAML one text or a list of them; a single text is a list of one.
using StringList = std::vector<std::string>;

// A number, or `auto`: nullopt, which leaves the choice to the program.
using AutoDouble = std::optional<double>;

// How often something happens: `never`, `epoch`, or a number of steps.
struct Interval {
  enum class Unit { kNever, kEpoch, kSteps };
  Unit unit = Unit::kNever;
  int64_t steps = 0;  // at least 1 with kSteps, otherwise 0

  static constexpr Interval never() { return {}; }
  static constexpr Interval epoch() { return {Unit::kEpoch, 0}; }
  static constexpr Interval every(int64_t steps) { return {Unit::kSteps, steps}; }
  bool operator==(const Interval&) const = default;
};

struct RunFolderConfig {
  std::string name = "lowmem";
  std::string dir = "runs";
  int64_t seed = 42;
  bool overwrite = false;
  bool tensorboard = true;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("name", name, Alters::kNothing,
          "name of the run: its files go to the folder DIR/NAME");
    field("dir", dir, Alters::kNothing, "folder that holds the folders of all runs");
    field("seed", seed, Alters::kChance,
          "seed of every random choice: equal seeds give equal runs");
    field("overwrite", overwrite, Alters::kNothing,
          "replace a finished run of the same name");
    field("tensorboard", tensorboard, Alters::kNothing,
          "write event files for TensorBoard too");
  }
  bool operator==(const RunFolderConfig&) const = default;
};

struct ModelConfig {
  std::string path = "";
  DType dtype = DType::kBF16;
  DType compute_dtype = DType::kBF16;
  StringList train = {"layers"};
  QuantizeMode quantize = QuantizeMode::kNone;
  bool double_quantization = true;
  AttentionSpan attention_span = AttentionSpan::kFull;
  int64_t span_group = 2048;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("path", path, Alters::kPlace, "Hugging Face folder of the model (required)");
    field("dtype", dtype, Alters::kResult, "type the weights are stored in");
    field("compute_dtype", compute_dtype, Alters::kResult,
          "type of the arithmetic; bf16 over fp32 is mixed precision");
    field("train", train, Alters::kResult,
          "weights to train: layers, all, or patterns such as *.mlp.*");
    field("quantize", quantize, Alters::kResult,
          "what the blocks' matrices that are not trained are stored in");
    field("double_quantization", double_quantization, Alters::kResult,
          "keep nf4's scales in 8 bits too");
    field("attention_span", attention_span, Alters::kResult,
          "what a token sees in training; shifted: its group (LongLoRA)");
    field("span_group", span_group, Alters::kResult,
          "tokens of a group; half the heads' begin half a group later");
  }
  bool operator==(const ModelConfig&) const = default;
};

struct AdapterConfig {
  AdapterKind kind = AdapterKind::kNone;
  int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;
  StringList targets = {"q_proj", "v_proj"};
  StringList exclude = {};
  bool rank_stabilized = false;
  StringList rank_pattern = {};
  StringList alpha_pattern = {};
  AdapterInit init = AdapterInit::kDefault;
  int64_t loftq_iterations = 1;
  StringList also_train = {};
  double lr_ratio = 1;
  OrCount<TargetRank> target_rank = TargetRank::kAuto;
  int64_t tinit = 0;
  int64_t tfinal = 0;
  int64_t delta_t = 1;
  double beta1 = 0.85;
  double beta2 = 0.85;
  double orth_reg_weight = 0.5;
  std::string path = "";
  bool merge = false;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("kind", kind, Alters::kResult,
          "train two thin matrices beside each target, and these alone");
    field("rank", rank, Alters::kResult, "their inner size");
    field("alpha", alpha, Alters::kResult, "their product is scaled by alpha / rank");
    field("dropout", dropout, Alters::kResult,
          "share of its input that each step leaves out");
    field("targets", targets, Alters::kResult,
          "linear layers: names, patterns such as *.mlp.*, or all-linear");
    field("exclude", exclude, Alters::kResult, "and of these the ones to leave out");
    field("rank_stabilized", rank_stabilized, Alters::kResult,
          "scale by alpha / sqrt(rank) instead");
    field("rank_pattern", rank_pattern, Alters::kResult,
          "other ranks, such as o_proj=4; the first that matches");
    field("alpha_pattern", alpha_pattern, Alters::kResult,
          "other alphas, such as *.mlp.*=32; the first that matches");
    field("init", init, Alters::kResult,
          "uniform or normal A and B = 0; a part of W; what nf4 lost");
    field("loftq_iterations", loftq_iterations, Alters::kResult,
          "of init = loftq; after the first, codes are made anew");
    field("also_train", also_train, Alters::kResult,
          "modules to train whole beside: norm, lm_head, *layernorm");
    field("lr_ratio", lr_ratio, Alters::kResult,
          "learning rate of the second matrix over the first's (LoRA+)");
    field("target_rank", target_rank, Alters::kResult,
          "adalora: mean rank that is left; auto: two thirds of rank");
    field("tinit", tinit, Alters::kResult, "adalora: steps before ranks begin to fall");
    field("tfinal", tfinal, Alters::kResult,
          "adalora: steps at the end, with the ranks that are left");
    field("delta_t", delta_t, Alters::kResult, "adalora: steps between two cuts");
    field("beta1", beta1, Alters::kResult, "adalora: decay of the average of importance");
    field("beta2", beta2, Alters::kResult,
          "adalora: decay of the average of its uncertainty");
    field("orth_reg_weight", orth_reg_weight, Alters::kResult,
          "adalora: weight of the orthogonality of A and B in the loss");
    field("path", path, Alters::kPlace,
          "adapter folder to begin with, whose settings these then are");
    field("merge", merge, Alters::kNothing,
          "also write the model with the adapter merged into it");
  }
  bool operator==(const AdapterConfig&) const = default;
};

struct DataConfig {
  StringList train = {};
  DataFormat format = DataFormat::kAuto;
  OrText<ChatTemplate> chat_template = ChatTemplate::kAuto;
  std::string chat_date = "today";
  int64_t max_length = 160;
  LongMode long_rows = LongMode::kAuto;
  bool shuffle = true;
  int64_t limit = 0;
  BadRowMode on_bad_row = BadRowMode::kStop;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("train", train, Alters::kPlace,
          "JSONL files of training rows (required for training)");
    field("format", format, Alters::kResult,
          "what a row holds; auto: as its keys say, for each file");
    field("chat_template", chat_template, Alters::kResult,
          "how chats are written; auto: by the model folder's own template");
    field("chat_date", chat_date, Alters::kChance,
          "day that a template may write; today: the day the run begins");
    field("max_length", max_length, Alters::kResult, "tokens of the longest sequence");
    field("long", long_rows, Alters::kResult,
          "what becomes of longer rows; auto: split texts, truncate others");
    field("shuffle", shuffle, Alters::kResult,
          "draw a new order of the rows each epoch, from run.seed");
    field("limit", limit, Alters::kResult,
          "training rows to use, counted over all files in turn (0: all)");
    field("on_bad_row", on_bad_row, Alters::kResult,
          "on a row that cannot be read, in data.train or in eval.data");
  }
  bool operator==(const DataConfig&) const = default;
};

struct TrainConfig {
  int64_t epochs = 3;
  int64_t batch_size = 8;
  int64_t micro_batch_size = 0;
  int64_t max_steps = 0;
  int64_t log_every = 100;
  int64_t save_every = 0;
  int64_t keep_checkpoints = 2;
  bool whole_checkpoints = false;
  bool keep_best = false;
  int64_t stop_after = 0;
  NonfiniteMode on_nonfinite = NonfiniteMode::kStop;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("epochs", epochs, Alters::kLength, "passes over the training rows");
    field("batch_size", batch_size, Alters::kResult, "rows per update");
    field("micro_batch_size", micro_batch_size, Alters::kRounding,
          "rows a forward pass takes; changes rounding only (0: all)");
    field("max_steps", max_steps, Alters::kLength,
          "updates to stop after, before the epochs end (0: none)");
    field("log_every", log_every, Alters::kLog,
          "updates between two lines of metrics.jsonl");
    field("save_every", save_every, Alters::kNothing,
          "updates between two checkpoints, for --resume (0: none)");
    field("keep_checkpoints", keep_checkpoints, Alters::kNothing,
          "checkpoints that stay, the newest ones (0: all)");
    field("whole_checkpoints", whole_checkpoints, Alters::kNothing,
          "save weights that are not trained as well, in each checkpoint");
    field("keep_best", keep_best, Alters::kNothing,
          "export the weights that evaluated best, not the last ones");
    field("stop_after", stop_after, Alters::kLength,
          "evaluations in turn without gain after which to end (0: none)");
    field("on_nonfinite", on_nonfinite, Alters::kResult,
          "on a loss or gradient not finite; skip leaves its weights");
  }
  bool operator==(const TrainConfig&) const = default;
};

struct OptimizerConfig {
  OptimizerKind name = OptimizerKind::kAdafactor;
  double lr = 1e-4;
  double beta1 = 0.9;
  AutoDouble beta2 = std::nullopt;
  AutoDouble eps = std::nullopt;
  AutoDouble weight_decay = std::nullopt;
  AutoDouble scale_floor = std::nullopt;
  double momentum = 0;
  StateType state_dtype = StateType::kF32;
  RoundingMode rounding = RoundingMode::kStochastic;
  ScheduleKind schedule = ScheduleKind::kConstant;
  int64_t warmup_steps = 0;
  double clip_norm = 0;
  ClipMode clip_mode = ClipMode::kOnePass;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("name", name, Alters::kResult, "update rule");
    field("lr", lr, Alters::kResult, "peak learning rate");
    field("beta1", beta1, Alters::kResult,
          "the mean gradient's decay per update (adam, adamw)");
    field("beta2", beta2, Alters::kResult,
          "the mean square's decay per update (auto: 0.999, adafactor 0.99)");
    field("eps", eps, Alters::kResult,
          "added to the denominator (auto: 1.0e-8, adafactor 1.0e-30)");
    field("weight_decay", weight_decay, Alters::kResult,
          "pull of the weights towards 0 (auto: 0, adamw 0.01)");
    field("scale_floor", scale_floor, Alters::kResult,
          "least RMS that a step is a share of (adafactor; auto: 0.001)");
    field("momentum", momentum, Alters::kResult,
          "share of the last update that is kept (sgd)");
    field("state_dtype", state_dtype, Alters::kResult,
          "type of adam's and adamw's averages; int8: in blocks of 256");
    field("rounding", rounding, Alters::kResult,
          "how an updated bf16 weight is rounded; fp32 needs none");
    field("schedule", schedule, Alters::kResult,
          "course of the learning rate after the warm-up");
    field("warmup_steps", warmup_steps, Alters::kResult,
          "updates over which lr rises linearly from 0");
    field("clip_norm", clip_norm, Alters::kResult,
          "largest norm of the whole gradient (0: no clipping)");
    field("clip_mode", clip_mode, Alters::kCost,
          "two_pass: a pass for the norm, then one that updates at once");
  }
  bool operator==(const OptimizerConfig&) const = default;
};

struct MemoryConfig {
  std::string budget = "0";
  OrCount<ActivationsMode> activations = ActivationsMode::kRecompute;
  KeptMode kept = KeptMode::kDevice;
  WeightsMode weights = WeightsMode::kResident;
  StatesMode states = StatesMode::kWithWeights;
  std::string scratch = "";
  int64_t ahead = 2;
  int64_t resident_blocks = 0;
  GradientsMode gradients = GradientsMode::kUpdate;
  bool linear_cross_entropy = true;
  AttentionMode attention = AttentionMode::kAuto;
  DeviceMode device = DeviceMode::kAuto;
  GraphsMode cuda_graphs = GraphsMode::kAuto;
  bool force = false;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("budget", budget, Alters::kCost,
          "memory to stay within, as 6GiB; free: what is free (0: as below)");
    field("activations", activations, Alters::kCost,
          "a block's activations until backward; N: only the last N keep");
    field("kept", kept, Alters::kCost,
          "where what is kept of a block waits for its backward pass");
    field("weights", weights, Alters::kCost,
          "where a block's weights live; host: for a GPU");
    field("states", states, Alters::kCost,
          "where what the optimizer keeps of a block lives");
    field("scratch", scratch, Alters::kPlace,
          "folder of the working file of what is on disk (empty: run.dir)");
    field("ahead", ahead, Alters::kCost,
          "blocks that come from host or disk before their turn");
    field("resident_blocks", resident_blocks, Alters::kCost,
          "blocks that stay in memory all the same, the last ones");
    field("gradients", gradients, Alters::kCost,
          "sum them over the batch, or update at once and free each");
    field("linear_cross_entropy", linear_cross_entropy, Alters::kRounding,
          "loss without the whole [tokens, vocabulary] logits");
    field("attention", attention, Alters::kRounding,
          "kernel of the attention; flash and cudnn are a GPU's");
    field("device", device, Alters::kRounding,
          "where to compute; auto: a GPU where there is one");
    field("cuda_graphs", cuda_graphs, Alters::kCost,
          "replay a block's launches on a GPU; auto: for small batches");
    field("force", force, Alters::kNothing,
          "begin even where the plan exceeds the free memory or disk");
  }
  bool operator==(const MemoryConfig&) const = default;

  // Whether blocks, or what the optimizer keeps of them, come from elsewhere and go back.
  bool blocks_move() const {
    return weights != WeightsMode::kResident || states == StatesMode::kHost ||
           states == StatesMode::kDisk;
  }
  // Those, or what is kept of them.
  bool moves() const { return blocks_move() || kept != KeptMode::kDevice; }
  bool uses_host() const {
    return weights == WeightsMode::kHost || states == StatesMode::kHost ||
           kept == KeptMode::kHost;
  }
  bool uses_disk() const {
    return weights == WeightsMode::kDisk || states == StatesMode::kDisk ||
           kept == KeptMode::kDisk;
  }
};

struct EvalConfig {
  StringList data = {};
  DataFormat format = DataFormat::kAuto;
  Interval every = Interval::epoch();
  int64_t batch_size = 32;
  bool share_query = true;
  BosMode bos = BosMode::kTokenizer;
  int64_t limit = 0;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("data", data, Alters::kPlace,
          "JSONL files: HellaSwag's accuracy, others' perplexity; []: none");
    field("format", format, Alters::kResult,
          "what a row holds; auto: as its keys say, for each file");
    field("every", every, Alters::kResult,
          "when to evaluate during training, beside before and after");
    field("batch_size", batch_size, Alters::kRounding,
          "rows evaluated at once, of four endings each");
    field("share_query", share_query, Alters::kRounding,
          "run a row's query once for its four endings; on the CPU");
    field("bos", bos, Alters::kResult,
          "begin each row with BOS; tokenizer: as the model's own does");
    field("limit", limit, Alters::kResult,
          "rows to evaluate, the first ones of each file (0: all)");
  }
  bool operator==(const EvalConfig&) const = default;
};

struct RunConfig {
  RunFolderConfig run;
  ModelConfig model;
  AdapterConfig adapter;
  DataConfig data;
  TrainConfig train;
  OptimizerConfig optimizer;
  MemoryConfig memory;
  EvalConfig eval;

  // Calls field(name, section, doc) for each section; each section has a visit() itself.
  template <class Visitor>
  void visit(Visitor&& field) {
    field("run", run, "the run's name, folder and seed");
    field("model", model, "the model and which of its weights are trained");
    field("adapter", adapter, "what is trained beside a model that stays as it is");
    field("data", data, "the training rows");
    field("train", train, "how long and in what portions to train");
    field("optimizer", optimizer, "how a gradient changes the weights");
    field("memory", memory, "what is kept in memory, and where");
    field("eval", eval, "accuracy and perplexity before, during and after training");
  }
  bool operator==(const RunConfig&) const = default;
};

}  // namespace lowmem

#include "lowmem/config/validate.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>

#include "config/checks.h"
#include "lowmem/config/rules.h"
#include "lowmem/core/error.h"
#include "lowmem/core/plain_text.h"
#include "lowmem/core/units.h"

namespace lowmem {
namespace {

void check_run(const RunFolderConfig& run) {
  if (run.name.empty() || run.name == "." || run.name == ".." || !is_plain(run.name) ||
      run.name.find('/') != std::string::npos || run.name.size() > 200)
    throw Error(assigned("run.name", run.name), "is not a plain folder name",
                "Write a name without /, of 1 to 200 bytes; run.dir says where it goes");
  check_spelling("run.dir", run.dir);
  if (run.dir.empty())
    throw Error(assigned("run.dir", run.dir), "is empty",
                "Name the folder of the runs; . is the current one");
}

void check_path(const ModelConfig& model) {
  check_spelling("model.path", model.path);
  if (model.path.empty())
    throw Error(
        "model.path", "is not given",
        "Write the Hugging Face folder of a model, as in model.path=FOLDER; lowmem-train "
        "--help says more");
}

void check_model(const ModelConfig& model) {
  check_path(model);
  if (model.dtype == DType::kBF16 && model.compute_dtype == DType::kF32)
    throw Error(assigned("model.compute_dtype", model.compute_dtype),
                "is wider than the weights, model.dtype = bf16",
                "Set both to fp32 or both to bf16, or model.dtype = fp32 with "
                "compute_dtype = bf16 for mixed precision");
  check_texts("model.train", model.train,
              "Write layers, all, or patterns of weight names");
  if (model.double_quantization != ModelConfig().double_quantization &&
      model.quantize != QuantizeMode::kNf4)
    throw Error(assigned("model.double_quantization", model.double_quantization),
                "is not read with " + assigned("model.quantize", model.quantize),
                "Remove it, or set model.quantize = nf4");
  check_count("model.span_group", model.span_group, 2);
  if (model.span_group % 2 != 0)
    throw Error("model.span_group = " + std::to_string(model.span_group),
                "is no even number of tokens",
                "Write an even number, such as a quarter of the longest row's tokens");
  if (model.span_group != ModelConfig().span_group &&
      model.attention_span == AttentionSpan::kFull)
    throw Error(
        "model.span_group = " + std::to_string(model.span_group),
        "is not read with " + assigned("model.attention_span", model.attention_span),
        "Remove it, or set model.attention_span = shifted");
}

// Whether rows of this format may be written by a chat template.
bool may_be_chats(DataFormat format) {
  return format == DataFormat::kAuto || format == DataFormat::kChat;
}

// As 2026-11-29, of a month's days.
bool is_date(const std::string& text) {
  int year = 0, month = 0, day = 0;
  if (text.size() != 10 || text.find_first_not_of("0123456789-") != std::string::npos ||
      std::sscanf(text.c_str(), "%4d-%2d-%2d", &year, &month, &day) != 3)
    return false;
  return std::chrono::year_month_day(std::chrono::year(year),
                                     std::chrono::month(static_cast<unsigned>(month)),
                                     std::chrono::day(static_cast<unsigned>(day)))
             .ok() &&
         year >= 1;
}

// What training and evaluation rows share. `read` are the formats of the files that are.
void check_sequences(const DataConfig& data, std::initializer_list<DataFormat> read) {
  check_count("data.max_length", data.max_length, 2);
  check_spelling("data.chat_template", data.chat_template.text);
  if (data.chat_date != "today" && !is_date(data.chat_date))
    throw Error(assigned("data.chat_date", data.chat_date), "is no day",
                "Write today, or a day such as 2026-11-29");
  if (data.chat_template != ChatTemplate::kAuto &&
      std::none_of(read.begin(), read.end(), may_be_chats))
    throw Error(assigned("data.chat_template", data.chat_template),
                "is for chats, and no file may hold them: the format is set to " +
                    std::string(word_of(*read.begin())),
                "Remove it, or set data.format (of eval.data: eval.format) to chat or "
                "auto");
}

void check_data(const DataConfig& data) {
  check_texts("data.train", data.train, "Name the JSONL files to train on");
  check_spelling("data.train", data.train);
  check_count("data.limit", data.limit, 0);
}

void check_train(const TrainConfig& train) {
  check_count("train.epochs", train.epochs, 0);
  check_count("train.batch_size", train.batch_size, 1);
  check_count("train.micro_batch_size", train.micro_batch_size, 0);
  check_count("train.max_steps", train.max_steps, 0);
  check_count("train.log_every", train.log_every, 1);
  check_count("train.save_every", train.save_every, 0);
  check_count("train.keep_checkpoints", train.keep_checkpoints, 0);
  check_count("train.stop_after", train.stop_after, 0);
  if (train.micro_batch_size > train.batch_size)
    throw Error(
        assigned("train.micro_batch_size", train.micro_batch_size),
        "is more than the whole batch, " + assigned("train.batch_size", train.batch_size),
        "Write at most the batch size, or 0 for the whole batch");
}

// Refuses a number that was given to an optimizer that does not read it.
void check_unused(const OptimizerConfig& optimizer) {
  const Rule& rule = rule_of(optimizer.name);
  OptimizerConfig given = optimizer, unset, resolved;
  resolved.name = optimizer.name;
  resolve_defaults(resolved);
  std::map<std::string, std::string> allowed;  // as a saved config.yaml has them
  resolved.visit([&](const std::string& key, const auto& value, Alters, const char*) {
    allowed[key] = format_value(value);
  });
  std::map<std::string, std::string> defaults;
  unset.visit([&](const std::string& key, const auto& value, Alters, const char*) {
    defaults[key] = format_value(value);
  });
  given.visit([&](const std::string& key, const auto& value, Alters, const char*) {
    const std::string readers = readers_of(key), text = format_value(value);
    if (readers.empty() || rule.reads(key)) return;
    if (text == defaults[key] || text == allowed[key]) return;
    throw Error(assigned("optimizer." + key, value),
                "is not read by " + assigned("optimizer.name", optimizer.name),
                "Remove it: only " + readers +
                    (readers.find(' ') == std::string::npos ? " has it" : " have it"));
  });
}

void check_optimizer(const OptimizerConfig& optimizer) {
  check_not_negative("optimizer.lr", optimizer.lr);
  check_fraction("optimizer.beta1", optimizer.beta1);
  check_fraction("optimizer.beta2", optimizer.beta2.value_or(0));
  check_positive("optimizer.eps", optimizer.eps.value_or(1));
  check_not_negative("optimizer.weight_decay", optimizer.weight_decay.value_or(0));
  check_not_negative("optimizer.scale_floor", optimizer.scale_floor.value_or(0));
  check_fraction("optimizer.momentum", optimizer.momentum);
  check_count("optimizer.warmup_steps", optimizer.warmup_steps, 0);
  check_not_negative("optimizer.clip_norm", optimizer.clip_norm);
  check_unused(optimizer);
}

void check_rounding(const RunConfig& config) {
  if (config.optimizer.rounding == RoundingMode::kKahan &&
      config.model.dtype == DType::kF32)
    throw Error(assigned("optimizer.rounding", config.optimizer.rounding),
                "keeps what rounding a bf16 weight loses, but " +
                    assigned("model.dtype", config.model.dtype) + " loses nothing",
                "Remove it, or set model.dtype = bf16");
  if (config.optimizer.rounding == RoundingMode::kKahan &&
      config.adapter.kind != AdapterKind::kNone && config.adapter.also_train.empty())
    throw Error(assigned("optimizer.rounding", config.optimizer.rounding),
                "keeps what rounding a bf16 weight loses, but " +
                    assigned("adapter.kind", config.adapter.kind) +
                    " trains fp32 weights alone",
                "Remove it: rounding nearest or stochastic does as well");
}

void check_clipping(const RunConfig& config) {
  if (config.optimizer.clip_norm > 0 &&
      config.optimizer.clip_mode == ClipMode::kOnePass &&
      config.memory.gradients == GradientsMode::kUpdate)
    throw Error(
        assigned("optimizer.clip_norm", config.optimizer.clip_norm),
        "needs every gradient before the first update, but memory.gradients = "
        "update frees each as it arrives",
        "Set optimizer.clip_mode = two_pass, which takes the norm in a forward and "
        "backward pass of its own, twice the time, or memory.gradients = accumulate, "
        "which holds all gradients");
}

void check_activations(const MemoryConfig& memory) {
  if (memory.activations.count)
    check_count("memory.activations", *memory.activations.count, 0);
}

void check_budget(const std::string& budget) {
  if (budget == "free" || budget == "0") return;
  try {
    parse_bytes(budget);
  } catch (const Error& error) {
    throw Error("memory.budget = " + budget, error.problem(),
                "Write an amount such as 6GiB, or free, or 0 for none");
  }
}

void check_weights(const MemoryConfig& memory) {
  check_budget(memory.budget);
  check_spelling("memory.scratch", memory.scratch);
  check_count("memory.ahead", memory.ahead, 0);
  check_count("memory.resident_blocks", memory.resident_blocks, 0);
  if (memory.kept == KeptMode::kHost && !memory.activations.count &&
      memory.activations.word == ActivationsMode::kKeep)
    throw Error(
        assigned("memory.kept", memory.kept),
        "is for the inputs of blocks that are run again, but " +
            assigned("memory.activations", memory.activations) + " runs none",
        "Set memory.activations = recompute or a number, or leave memory.kept out");
}

void check_graphs(const RunConfig& config) {
  const MemoryConfig& memory = config.memory;
  if (memory.cuda_graphs != GraphsMode::kTrue) return;
  const bool reads_lengths = memory.attention == AttentionMode::kAuto ||
                             memory.attention == AttentionMode::kFlash;
  if (!reads_lengths)
    throw Error(assigned("memory.cuda_graphs", memory.cuda_graphs),
                "needs flash attention, whose launches are the same for all batches of "
                "one size, but " +
                    assigned("memory.attention", memory.attention),
                "Set memory.attention = auto, or memory.cuda_graphs = auto");
  if (config.model.compute_dtype != DType::kBF16)
    throw Error(assigned("memory.cuda_graphs", memory.cuda_graphs),
                "needs flash attention, but " +
                    assigned("model.compute_dtype", config.model.compute_dtype) +
                    " has none",
                "Set model.compute_dtype = bf16, or memory.cuda_graphs = auto");
  if (config.model.attention_span == AttentionSpan::kShifted)
    throw Error(assigned("memory.cuda_graphs", memory.cuda_graphs),
                "needs launches that are the same for all batches of one size, but " +
                    assigned("model.attention_span", config.model.attention_span) +
                    " has one for as many groups as a batch has",
                "Set memory.cuda_graphs = auto");
  if (memory.moves())
    throw Error(assigned("memory.cuda_graphs", memory.cuda_graphs),
                "replays launches at the addresses that they had, but memory.weights, "
                "memory.states or memory.kept lets what is there come and go",
                "Leave them as they are by default, or set memory.cuda_graphs = auto");
  if (config.adapter.dropout > 0)
    throw Error(assigned("memory.cuda_graphs", memory.cuda_graphs),
                "replays launches with the numbers that they had, but adapter.dropout "
                "draws others in each step",
                "Set memory.cuda_graphs = auto");
  if (memory.activations == ActivationsMode::kKeep)
    throw Error(assigned("memory.cuda_graphs", memory.cuda_graphs),
                "replays blocks that are run again, but " +
                    assigned("memory.activations", memory.activations),
                "Set memory.activations = recompute, or memory.cuda_graphs = auto");
}

void check_eval(const EvalConfig& eval) {
  if (!eval.data.empty())
    check_texts("eval.data", eval.data, "Name the JSONL files to evaluate on");
  check_spelling("eval.data", eval.data);
  if (eval.every.unit == Interval::Unit::kSteps)
    check_count("eval.every", eval.every.steps, 1);
  check_count("eval.batch_size", eval.batch_size, 1);
  check_count("eval.limit", eval.limit, 0);
}

// What looks back at evaluations needs some before the end.
void check_evaluations(const RunConfig& config) {
  const auto refuse = [&](const std::string& key) {
    const bool none = config.eval.data.empty();
    if (none || config.eval.every.unit == Interval::Unit::kNever)
      throw Error(key,
                  std::string("compares evaluations, but ") +
                      (none ? "eval.data names no rows" : "eval.every = never"),
                  none ? "Name rows to evaluate on in eval.data"
                       : "Set eval.every = epoch, or to a number of steps");
  };
  if (config.train.keep_best) refuse(assigned("train.keep_best", true));
  if (config.train.stop_after > 0)
    refuse(assigned("train.stop_after", config.train.stop_after));
}

}  // namespace

void validate(const RunConfig& config, Purpose purpose) {
  if (purpose == Purpose::kData) {
    check_path(config.model);
    check_data(config.data);
    check_sequences(config.data, {config.data.format});
    return;
  }
  check_run(config.run);
  check_model(config.model);
  check_adapter(config);
  check_eval(config.eval);
  if (purpose == Purpose::kEvaluate) {
    if (config.eval.data.empty())
      throw Error("eval.data", "is not given",
                  "Write the JSONL file to evaluate on, as in eval.data=val.jsonl");
    check_sequences(config.data, {config.eval.format});
    check_weights(config.memory);
    return;
  }
  check_data(config.data);
  if (config.eval.data.empty())
    check_sequences(config.data, {config.data.format});
  else
    check_sequences(config.data, {config.data.format, config.eval.format});
  check_train(config.train);
  if (config.train.max_steps > 0)
    check_rank_schedule(config.adapter, config.train.max_steps);
  check_evaluations(config);
  check_optimizer(config.optimizer);
  check_rounding(config);
  check_clipping(config);
  check_activations(config.memory);
  check_weights(config.memory);
  check_graphs(config);
}

}  // namespace lowmem

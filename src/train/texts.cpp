#include "lowmem/train/texts.h"

#include <algorithm>
#include <utility>

#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/core/units.h"
#include "lowmem/data/chat.h"
#include "lowmem/data/examples.h"
#include "lowmem/data/hellaswag.h"
#include "lowmem/data/jsonl.h"
#include "lowmem/io/checksum.h"
#include "lowmem/memory/meter.h"

namespace lowmem::train {
namespace {

bool bos_of(BosMode mode, const Tokenizer& tokenizer) {
  if (mode == BosMode::kTokenizer) return tokenizer.adds_bos();
  return mode == BosMode::kTrue;
}

bool skips_bad_rows(const RunConfig& config) {
  return config.data.on_bad_row == BadRowMode::kSkip;
}

void report_skipped(const std::string& path, const BadRows& bad) {
  if (bad.count > 0)
    log::warn(path + ": left out " + format_count(bad.count, "bad row") +
              "; the first: " + bad.first);
}

// What has been read, cut and left out, and whether it can be kept. `of`: "training row".
void report_rows(const RunConfig& config, const TrainingRows& rows, const std::string& of,
                 int64_t max_length) {
  const ExampleCounts& counts = rows.counts;
  const std::string longest = std::to_string(max_length);
  const bool by_model = max_length < config.data.max_length;
  std::string line = "read " + format_count(counts.rows, of);
  if (counts.truncated > 0)
    line +=
        ", " + format_count(counts.truncated) + " of them cut at " + longest + " tokens";
  if (counts.split > 0)
    line += ", " + format_count(counts.split) + " split at every " + longest + ": " +
            format_count(static_cast<int64_t>(rows.examples.size()), "sequence");
  if (counts.dropped_pieces > 0)
    line += ", and " + format_count(counts.dropped_pieces, "piece") + " without a label";
  if (counts.truncated + counts.split > 0 && by_model)
    line += " (the model has no more positions)";
  log::info(line);
  if (counts.too_long > 0)
    log::warn("left out " + format_count(counts.too_long, of) + " of more than " +
              longest + " tokens, as data.long = drop has it");
  if (counts.dropped > 0)
    log::warn("left out " + format_count(counts.dropped, of) +
              " with nothing to learn in the first " + longest + " tokens; " +
              (by_model ? "the model has no more positions"
                        : "a larger data.max_length keeps more"));
}

// A file that data.limit leaves no row for must be there all the same.
void refuse_missing(const std::vector<std::string>& files) {
  for (const std::string& file : files) const JsonlReader reader(file);
}

// Appends a file's sequences; the options' format is resolved for it.
void read_file_of_rows(const RunConfig& config, const std::string& path,
                       const Tokenizer& tokenizer, ExampleOptions options,
                       TrainingRows& rows) {
  BadRows bad;
  const bool skip = skips_bad_rows(config);
  options.format = format_of_file(path, options.format, skip);
  options.chat_date = config.data.chat_date;
  std::string written;
  if (options.format == DataFormat::kChat) {
    ChatWriter writer(options.chat_template, tokenizer, options.chat_date);
    written = ", written as " + writer.described();
    rows.chat = chat_use(writer, tokenizer);
  }
  auto more = read_examples(path, tokenizer, options, rows.counts, skip ? &bad : nullptr);
  report_skipped(path, bad);
  if (options.format != DataFormat::kHellaSwag)
    log::info(path + " holds " + std::string(word_of(options.format)) + " rows" +
              written);
  if (rows.skipped.count == 0) rows.skipped.first = bad.first;
  rows.skipped.count += bad.count;
  std::move(more.begin(), more.end(), std::back_inserter(rows.examples));
}

void load_examples(const RunConfig& config, const Tokenizer& tokenizer,
                   const model::Config& shape, Texts& texts) {
  TrainingRows rows = read_training_rows(
      config, tokenizer, std::min(config.data.max_length, shape.max_position_embeddings),
      shape.vocab_size);
  texts.skipped_rows += rows.skipped.count;
  texts.chat = std::move(rows.chat);
  if (rows.examples.empty())
    throw Error("data.train", "has no row to train on",
                "Give a file with rows, or a larger data.max_length");
  texts.examples = std::move(rows.examples);
}

std::string fingerprint(const std::vector<Example>& examples) {
  Checksum checksum;
  for (const Example& example : examples) {
    const auto tokens = static_cast<int64_t>(example.ids.size());
    checksum.add(std::as_bytes(std::span(&tokens, 1)));
    checksum.add(std::as_bytes(std::span(example.ids)));
    checksum.add(std::as_bytes(std::span(example.labels)));
  }
  return hexadecimal(checksum.value());
}

}  // namespace

TrainingRows read_training_rows(const RunConfig& config, const Tokenizer& tokenizer,
                                int64_t max_length, int64_t vocabulary) {
  const DataConfig& data = config.data;
  TrainingRows rows;
  refuse_missing(data.train);
  for (const std::string& path : data.train) {
    if (data.limit != 0 && rows.counts.rows == data.limit) break;
    read_file_of_rows(config, path, tokenizer,
                      {data.format, data.chat_template, data.long_rows, max_length,
                       data.limit == 0 ? 0 : data.limit - rows.counts.rows, vocabulary},
                      rows);
  }
  report_rows(config, rows, "training row", max_length);
  return rows;
}

std::optional<Evaluation> make_evaluation(const RunConfig& config,
                                          const model::Config& shape,
                                          const Tokenizer& tokenizer, c10::Device device,
                                          int64_t& skipped_rows) {
  if (config.eval.data.empty()) return std::nullopt;
  const int64_t longest = std::min(config.data.max_length, shape.max_position_embeddings);
  const bool skip = skips_bad_rows(config);
  std::vector<HellaSwagRow> questions;
  TrainingRows texts;
  for (const std::string& path : config.eval.data) {
    const DataFormat format = format_of_file(path, config.eval.format, skip);
    if (format != DataFormat::kHellaSwag) {
      read_file_of_rows(config, path, tokenizer,
                        {format, config.data.chat_template, config.data.long_rows,
                         longest, config.eval.limit, shape.vocab_size},
                        texts);
      continue;
    }
    BadRows bad;
    auto more = read_hellaswag(path, config.eval.limit, skip ? &bad : nullptr);
    report_skipped(path, bad);
    skipped_rows += bad.count;
    std::move(more.begin(), more.end(), std::back_inserter(questions));
  }
  skipped_rows += texts.skipped.count;
  if (texts.counts.rows > 0) report_rows(config, texts, "evaluation row", longest);
  if (texts.counts.rows > 0 && texts.examples.empty())
    throw Error("eval.data", "has no text with a token to predict",
                "Give a file with rows, or a larger data.max_length");

  Evaluation evaluation;
  // Flash attention takes four texts at once, and no masks.
  const bool share = config.eval.share_query && device.is_cpu();
  if (!questions.empty()) {
    const int64_t most = shape.max_position_embeddings;
    const eval::HellaSwag& made = evaluation.hellaswag.emplace(
        questions, tokenizer, bos_of(config.eval.bos, tokenizer), config.eval.batch_size,
        most, share, shape.vocab_size);
    if (made.cut() > 0)
      log::warn("cut the beginning of " + format_count(made.cut(), "HellaSwag row") +
                " with more than the model's " + format_count(most, "position"));
  }
  if (!texts.examples.empty())
    evaluation.perplexity.emplace(std::move(texts.examples), config.eval.batch_size);
  return evaluation;
}

Texts read_texts(const RunConfig& config, const model::Config& shape,
                 c10::Device device) {
  Texts texts;
  {
    const auto tokenizer = open_tokenizer(config.model.path);
    texts.vocabulary = tokenizer->vocab_size();
    load_examples(config, *tokenizer, shape, texts);
    texts.fingerprint = fingerprint(texts.examples);
    texts.evaluation =
        make_evaluation(config, shape, *tokenizer, device, texts.skipped_rows);
  }
  // A tokenizer of 128,000 words takes 200 MiB while it is read.
  memory::return_free_memory();
  return texts;
}

}  // namespace lowmem::train

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "lowmem/config/validate.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/plain_text.h"
#include "lowmem/train/texts.h"
#include "options.h"

namespace lowmem::cli {
namespace {

// Escape sequences of a terminal; empty elsewhere.
struct Colours {
  const char *learned = "", *read = "", *off = "";
};

Colours colours() {
  if (isatty(STDOUT_FILENO) == 0 || std::getenv("NO_COLOR") != nullptr) return {};
  return {"\x1b[32m", "\x1b[2m", "\x1b[0m"};
}

// A token's text on one line: what is not plain (core/plain_text.h), and so bytes that
// are no text without the next token's, as escapes. The text's own brackets have a
// backslash before them, since those without mean "learned".
std::string printable(std::string_view piece) {
  std::string text;
  while (!piece.empty()) {
    const auto [bytes, plain] = first_character(piece);
    const std::string_view character = piece.substr(0, bytes);
    if (character == "\n") {
      text += "\\n";
    } else if (character == "[" || character == "]" || character == "\\") {
      (text += '\\') += character;
    } else if (plain) {
      text += character;
    } else {
      for (const char byte : character) {
        char escape[5];
        std::snprintf(escape, sizeof escape, "\\x%02X", static_cast<unsigned char>(byte));
        text += escape;
      }
    }
    piece.remove_prefix(bytes);
  }
  return text;
}

// Its tokens, bars between them: learned ones in brackets and green, the others dim. The
// label of the last position, where it has one, follows an arrow: the token is not read.
std::string shown(const Example& example, const Tokenizer& tokenizer) {
  const Colours colour = colours();
  std::string text;
  const auto add = [&](int32_t id, bool learned, const char* before) {
    const std::string piece = printable(tokenizer.piece(id));
    text += std::string(colour.read) + before + colour.off +
            (learned ? colour.learned + ("[" + piece + "]") : colour.read + piece) +
            colour.off;
  };
  for (size_t i = 0; i < example.ids.size(); ++i)
    add(example.ids[i], i > 0 && example.labels[i - 1] != kIgnoreLabel, i > 0 ? "|" : "");
  if (!example.labels.empty() && example.labels.back() != kIgnoreLabel)
    add(example.labels.back(), true, " -> ");
  return text;
}

void print_count(const char* name, int64_t count) {
  std::printf("%s %lld\n", name, static_cast<long long>(count));
}

void print_counts(const train::TrainingRows& rows) {
  int64_t tokens = 0, labelled = 0, longest = 0;
  for (const Example& example : rows.examples) {
    const auto size = static_cast<int64_t>(example.ids.size());
    tokens += size;
    labelled += example.labelled();
    longest = std::max(longest, size);
  }
  print_count("rows", rows.counts.rows);
  print_count("skipped_rows", rows.skipped.count);
  print_count("sequences", static_cast<int64_t>(rows.examples.size()));
  print_count("tokens", tokens);
  print_count("labelled_tokens", labelled);
  print_count("longest", longest);
  print_count("cut", rows.counts.truncated);
  print_count("split", rows.counts.split);
  print_count("dropped",
              rows.counts.dropped + rows.counts.too_long + rows.counts.dropped_pieces);
}

}  // namespace

void add_data(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "data", "training rows as the model will see them, and their counts");
  const auto options = add_config_options(*command);
  auto show = std::make_shared<int64_t>(3);
  command->add_option("--show", *show, "sequences to print, the first ones (default 3)")
      ->type_name("N")
      ->check(kCount);
  command->callback([options, show] {
    const RunConfig config = config_of(*options);
    validate(config, Purpose::kData);
    const auto tokenizer = open_tokenizer(config.model.path);
    int64_t max_length = config.data.max_length, vocabulary = 0;
    if (is_there(std::filesystem::path(config.model.path) / "config.json")) {
      const auto shape = model::read_model_config(config.model.path);
      max_length = std::min(max_length, shape.max_position_embeddings);
      vocabulary = shape.vocab_size;
    }
    const train::TrainingRows rows =
        train::read_training_rows(config, *tokenizer, max_length, vocabulary);
    const auto count = std::min<size_t>(static_cast<size_t>(*show), rows.examples.size());
    for (size_t i = 0; i < count; ++i)
      std::printf("%s\n\n", shown(rows.examples[i], *tokenizer).c_str());
    print_counts(rows);
  });
}

}  // namespace lowmem::cli

#include "lowmem/data/examples.h"

#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "data/draft.h"
#include "data/formats.h"
#include "data/row_file.h"
#include "lowmem/core/error.h"
#include "lowmem/data/chat.h"

namespace lowmem {
namespace {

// Any of these says what a row is.
constexpr std::array<std::pair<const char*, DataFormat>, 9> kMarks = {
    {{"endings", DataFormat::kHellaSwag},
     {"ctx", DataFormat::kHellaSwag},
     {"ctx_a", DataFormat::kHellaSwag},
     {"text", DataFormat::kText},
     {"prompt", DataFormat::kPromptCompletion},
     {"instruction", DataFormat::kPromptCompletion},
     {"question", DataFormat::kPromptCompletion},
     {"messages", DataFormat::kChat},
     {"conversations", DataFormat::kChat}}};

// The row's keys, quoted; the first ones where they are many.
std::string keys_of(const nlohmann::json& row) {
  constexpr size_t kShown = 8, kLength = 40;
  std::string text;
  size_t count = 0;
  for (const auto& [key, value] : row.items()) {
    if (++count > kShown) return text + ", ...";
    const nlohmann::json shown = key.substr(0, kLength);
    text += (text.empty() ? "" : ", ") +
            shown.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  }
  return text.empty() ? "none" : text;
}

// A prompt or completion that is a list is one of turns.
bool has_turns(const nlohmann::json& row) {
  return (has(row, "prompt") && row["prompt"].is_array()) ||
         (has(row, "completion") && row["completion"].is_array());
}

DataFormat format_of_row(const nlohmann::json& row, const std::string& where) {
  std::pair<const char*, DataFormat> found = {nullptr, DataFormat::kAuto};
  const char* null = nullptr;
  for (auto mark : kMarks) {
    if (mark.first == std::string_view("prompt") && has_turns(row))
      mark.second = DataFormat::kChat;
    if (!has(row, mark.first)) {
      if (row.contains(mark.first)) null = mark.first;
      continue;
    }
    if (found.first != nullptr && found.second != mark.second)
      throw Error(where,
                  std::string("has keys of two formats, ") + found.first + " of " +
                      std::string(word_of(found.second)) + " and " + mark.first + " of " +
                      std::string(word_of(mark.second)) + " (its keys: " + keys_of(row) +
                      ")",
                  "Set data.format (of eval.data: eval.format) to hellaswag, text, "
                  "prompt_completion or chat");
    if (found.first == nullptr) found = mark;
  }
  if (found.first == nullptr && null != nullptr)
    throw Error(where + " " + null, "is null", "Give it a value, or remove the line");
  if (found.first == nullptr)
    throw Error(where, "has keys of no format (its keys: " + keys_of(row) + ")",
                "Name them as a format does: hellaswag (ctx, endings, label), text "
                "(text), prompt_completion (prompt, completion) or chat (messages)");
  return found.second;
}

// Names a row that is one of another format than its file's.
void refuse_other_format(const nlohmann::json& row, const std::string& where,
                         DataFormat format) {
  DataFormat own = format;
  try {
    own = format_of_row(row, where);
  } catch (const Error&) {  // of no format that is known
  }
  if (own != format)
    throw Error(
        where,
        "is a row of " + std::string(word_of(own)) + ", and the file is read as " +
            std::string(word_of(format)),
        "Put it into a file of its own format, whose data.format is auto or this one; "
        "or remove the line");
}

// Keys beside a format's own that say what the row means: without them another row would
// be learned. A row of preferences would lose the worse answer, one with pictures these.
void refuse_lost_meaning(const nlohmann::json& row, const std::string& where,
                         DataFormat format) {
  const auto refuse = [&](const char* key, const char* remedy) {
    if (!has(row, key) || row[key].empty()) return;
    if (row[key].is_string() && row[key].get_ref<const std::string&>().empty()) return;
    throw Error(where + " " + key, "is not read here, and the row would mean another",
                remedy);
  };
  for (const char* key : {"images", "image", "videos", "audios", "audio"})
    refuse(key, "This program reads text alone: remove the line");
  for (const char* key : {"chosen", "rejected"})
    refuse(key,
           "Preferences are not learned here: write the better answer as the row's own");
  refuse("history", "Write the row as a chat, with the earlier turns in messages");
  if (format != DataFormat::kPromptCompletion && format != DataFormat::kChat) return;
  // A judgement, as of unpaired preferences: the bad answers are not to be learned.
  for (const char* key : {"label", "kto_tag"})
    if (has(row, key) && row[key].is_boolean())
      refuse(key,
             "Preferences are not learned here: keep the rows that are true, without it");
  for (const char* key : {"system_prompt", "system_message"})
    refuse(key, "Write the row as a chat, with a system turn in messages");
  if (format == DataFormat::kChat) return;
  refuse("system", "Write the row as a chat, with a system turn in messages");
  // What the answer rests on.
  for (const char* key :
       {"context", "passage", "documents", "options", "choices", "tools"})
    refuse(key, "Write it into the prompt");
  if (!has(row, "instruction")) refuse("input", "Write it into the prompt");
}

LongMode long_mode(LongMode mode, DataFormat format) {
  if (mode != LongMode::kAuto) return mode;
  return format == DataFormat::kText ? LongMode::kSplit : LongMode::kTruncate;
}

}  // namespace

void refuse_foreign_ids(std::span<const int32_t> ids, int64_t vocabulary,
                        const Tokenizer& tokenizer, const std::string& where) {
  if (vocabulary == 0) return;
  const auto foreign =
      std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id >= vocabulary; });
  if (foreign == ids.end()) return;
  throw Error(where,
              "holds the token \"" + tokenizer.piece(*foreign) + "\" with the id " +
                  std::to_string(*foreign) + ", and config.json's vocab_size is " +
                  std::to_string(vocabulary),
              "Take the token out of the row, or check that the tokenizer and the "
              "weights belong together");
}

void require_eos(const Tokenizer& tokenizer) {
  if (!tokenizer.eos_id())
    throw Error(
        "the tokenizer", "names no EOS, which ends every training text",
        "Name eos_token in tokenizer_config.json, or eos_token_id in config.json");
}

DataFormat format_of_file(const std::filesystem::path& path, DataFormat format,
                          bool skip_bad) {
  if (format != DataFormat::kAuto) return format;
  BadRows ignored;
  for_each_row(
      path, 1, skip_bad ? &ignored : nullptr,
      [&](const nlohmann::json& row, const Ordered& /*ordered*/, int64_t /*number*/,
          const std::string& where) { format = format_of_row(row, where); });
  return format;
}

std::vector<Example> read_examples(const std::filesystem::path& path,
                                   const Tokenizer& tokenizer,
                                   const ExampleOptions& options, ExampleCounts& counts,
                                   BadRows* skipped) {
  const DataFormat format =
      format_of_file(path, options.format, /*skip_bad=*/skipped != nullptr);
  std::optional<ChatWriter> chat;
  if (format == DataFormat::kChat)
    chat.emplace(options.chat_template, tokenizer, options.chat_date);
  else
    require_eos(tokenizer);
  const auto example_of = [&](const nlohmann::json& row, const Ordered& ordered,
                              int64_t number, const std::string& where) {
    refuse_lost_meaning(row, where, format);
    switch (format) {
      case DataFormat::kHellaSwag:
        return hellaswag_example(row, number, where, tokenizer);
      case DataFormat::kPromptCompletion:
        return prompt_completion_example(row, where, tokenizer);
      case DataFormat::kChat:
        return chat->example(read_chat(ordered(), where), where);
      case DataFormat::kAuto:  // resolved above
      case DataFormat::kText:
        break;
    }
    return text_example(row, where, tokenizer);
  };

  const LongMode mode = long_mode(options.long_rows, format);
  std::vector<Example> examples;
  for_each_row(
      path, options.limit, skipped,
      [&](const nlohmann::json& row, const Ordered& ordered, int64_t number,
          const std::string& where) {
        try {
          Example example = example_of(row, ordered, number, where);
          refuse_foreign_ids(example.ids, options.vocabulary, tokenizer, where);
          refuse_foreign_ids(example.labels, options.vocabulary, tokenizer, where);
          add_cut(std::move(example), options.max_length, mode, examples, counts);
        } catch (const Error&) {
          refuse_other_format(row, where, format);
          throw;
        }
        ++counts.rows;
      });
  return examples;
}

}  // namespace lowmem

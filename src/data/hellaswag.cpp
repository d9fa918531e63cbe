#include "lowmem/data/hellaswag.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/draft.h"
#include "data/formats.h"
#include "data/row_file.h"
#include "lowmem/core/error.h"
#include "template/python_text.h"

namespace lowmem {
namespace {

using nlohmann::json;

std::string string_of(const json& object, const char* key, const std::string& where) {
  if (!object.contains(key) || object[key].is_null()) return {};
  if (!object[key].is_string())
    throw Error(where + " " + key, "is not a string", kRepairLine);
  return object[key].get<std::string>();
}

// An integer, or the same in a string; "" and a missing label are the test split's.
int label_of(const json& object, const std::string& where) {
  const json label = object.value("label", json());
  if (label.is_null() || label == json("")) return -1;
  if (label.is_number()) {
    // Tables write 2 as 2.0.
    const auto value = label.get<double>();
    if (value >= 0 && value < 4 && value == std::floor(value))
      return static_cast<int>(value);
  } else if (label.is_string()) {
    const auto text = label.get<std::string>();
    if (text.size() == 1 && text[0] >= '0' && text[0] <= '3') return text[0] - '0';
  }
  std::string shown = label.dump();
  if (shown.size() > 40) shown = "(" + std::string(label.type_name()) + ")";
  throw Error(where + " label = " + shown, "is not a number from 0 to 3", kRepairLine);
}

HellaSwagRow row_of(const json& object, int64_t number, const std::string& where) {
  HellaSwagRow row;
  row.index = number;
  if (object.contains("ind") && object["ind"].is_number_integer())
    row.index = object["ind"].get<int64_t>();
  row.activity_label = string_of(object, "activity_label", where);
  row.context_a = string_of(object, "ctx_a", where);
  row.context_b = string_of(object, "ctx_b", where);
  row.context = string_of(object, "ctx", where);
  if (row.context.empty() && row.context_a.empty())
    throw Error(where + " ctx", "is missing, and so is ctx_a", kRepairLine);
  if (row.context.empty()) {
    row.context = row.context_a;
    if (!row.context_b.empty()) row.context += " " + row.context_b;
  }

  const bool four = object.contains("endings") && object["endings"].is_array() &&
                    object["endings"].size() == 4 &&
                    std::all_of(object["endings"].begin(), object["endings"].end(),
                                [](const json& ending) { return ending.is_string(); });
  if (!four)
    throw Error(where + " endings", "is not a list of four strings", kRepairLine);
  for (size_t i = 0; i < 4; ++i) row.endings[i] = object["endings"][i].get<std::string>();
  row.label = label_of(object, where);
  if (row.label < 0)
    throw Error(where + " label", "is missing: the row cannot be trained or scored on",
                "Use the train or val split");
  return row;
}

// Every shortest "[...]" on one line goes, as re.sub(r"\[.*?\]", "", text) has it.
std::string without_remarks(std::string_view text) {
  std::string kept;
  while (!text.empty()) {
    const size_t open = text.find('[');
    const size_t end = text.find_first_of("]\n", std::min(open, text.size()));
    if (end == std::string_view::npos) break;  // so no later one closes either
    kept += text.substr(0, text[end] == ']' ? open : end + 1);
    text.remove_prefix(end + 1);
  }
  return kept += text;
}

// The harness's preprocess(): wikihow's titles and bracketed remarks go.
std::string clean(const std::string& raw) {
  const std::string text = text::replace(text::strip(raw), " [title]", ". ");
  return text::replace(without_remarks(text), "  ", " ");
}

Example example_of(const HellaSwagRow& row, const Tokenizer& tokenizer) {
  const std::string& ending = row.endings[static_cast<size_t>(row.label)];
  const size_t context = tokenizer.encode(row.context).size();
  Draft draft;
  if (tokenizer.adds_bos() && tokenizer.bos_id())
    draft.add(*tokenizer.bos_id(), /*learned=*/false);
  draft.add(tokenizer.encode(row.context + " " + ending), context);
  draft.add(*tokenizer.eos_id(), true);
  return std::move(draft).finish();
}

}  // namespace

std::vector<HellaSwagRow> read_hellaswag(const std::filesystem::path& path, int64_t limit,
                                         BadRows* skipped) {
  std::vector<HellaSwagRow> rows;
  for_each_row(path, limit, skipped,
               [&](const json& object, const Ordered& /*ordered*/, int64_t number,
                   const std::string& where) {
                 rows.push_back(row_of(object, number, where));
                 if (!has(object, "activity_label"))
                   throw Error(where + " activity_label",
                               "is missing, which the question begins with",
                               "Give the label of HellaSwag's own files, or \"\" to ask "
                               "without one");
               });
  return rows;
}

Example hellaswag_example(const json& row, int64_t number, const std::string& where,
                          const Tokenizer& tokenizer) {
  return example_of(row_of(row, number, where), tokenizer);
}

std::vector<Example> hellaswag_examples(const std::vector<HellaSwagRow>& rows,
                                        const Tokenizer& tokenizer, int64_t max_length,
                                        ExampleCounts& counts) {
  require_eos(tokenizer);
  std::vector<Example> examples;
  for (const HellaSwagRow& row : rows) {
    ++counts.rows;
    add_cut(example_of(row, tokenizer), max_length, LongMode::kTruncate, examples,
            counts);
  }
  return examples;
}

EvalItem eval_item(const HellaSwagRow& row) {
  const std::string context = row.context_a.empty() && row.context_b.empty()
                                  ? row.context + " "
                                  : row.context_a + " " + text::capitalize(row.context_b);
  EvalItem item{row.index, row.label, clean(row.activity_label + ": " + context), {}};
  for (size_t i = 0; i < 4; ++i) item.choices[i] = clean(row.endings[i]);
  return item;
}

ScoredText encode_choice(const Tokenizer& tokenizer, const std::string& query,
                         const std::string& choice, bool bos) {
  const std::string_view spaces = text::trailing_space(query);
  const std::string context = query.substr(0, query.size() - spaces.size());
  const auto whole = tokenizer.encode(context + std::string(spaces) + " " + choice);
  ScoredText scored;
  // The query keeps its own tokens even where, read together with the choice, its end
  // would have been cut differently: the harness joins the two lists.
  if (!context.empty()) scored.ids = tokenizer.encode(context);
  const size_t known = scored.ids.size();
  scored.context = static_cast<int64_t>(known);
  if (known < whole.size())
    scored.ids.insert(scored.ids.end(), whole.begin() + scored.context, whole.end());

  // The first token is predicted from nothing, so a query without tokens is asked after
  // the token that begins, or else ends, a text.
  auto front = bos ? tokenizer.bos_id() : std::nullopt;
  if (known == 0 && !front)
    front = tokenizer.bos_id() ? tokenizer.bos_id() : tokenizer.eos_id();
  if (known == 0 && !front)
    throw Error("the tokenizer", "names neither BOS nor EOS, which an empty query needs",
                "Name bos_token in tokenizer_config.json, or remove rows without text");
  if (!front) return scored;
  if (scored.ids.empty() || scored.ids.front() != *front) {
    scored.ids.insert(scored.ids.begin(), *front);
    ++scored.context;
  }
  scored.context = std::max<int64_t>(1, scored.context);
  return scored;
}

int64_t choice_length(const std::string& choice) { return text::length(choice); }

}  // namespace lowmem

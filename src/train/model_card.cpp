#include "model_card.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "lowmem/config/rules.h"
#include "lowmem/config/yaml.h"
#include "lowmem/core/plain_text.h"
#include "lowmem/core/units.h"
#include "lowmem/core/version.h"
#include "lowmem/train/run_folder.h"

namespace lowmem::train {
namespace {

namespace fs = std::filesystem;

// As code in a line of Markdown, in a cell of a table too.
std::string code(const std::string& text) {
  std::string shown = plain(text);
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c == '`' || c == '|'; }, '?');
  shown.insert(0, 1, '`');
  return shown + '`';
}

// A text of YAML, which reads JSON's.
std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', true,
                                   nlohmann::json::error_handler_t::replace);
}

std::string last_name(const std::string& path) {
  const fs::path normal = fs::path(path).lexically_normal();
  return (normal.has_filename() ? normal : normal.parent_path()).filename().string();
}

std::string names_of(const StringList& paths) {
  std::string names;
  for (const std::string& path : paths)
    names += (names.empty() ? "" : ", ") + code(last_name(path));
  return names;
}

// The settings without the places of a machine.
RunConfig portable(RunConfig config) {
  config.run.dir = RunFolderConfig().dir;
  config.model.path = base_name(config.model.path);
  if (!config.adapter.path.empty()) config.adapter.path = last_name(config.adapter.path);
  for (StringList* paths : {&config.data.train, &config.eval.data})
    for (std::string& path : *paths) path = last_name(path);
  return config;
}

std::string number(double value, const char* format) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string row(const std::string& name, const std::string& before,
                const std::string& after) {
  std::string line;
  for (const std::string& cell : {name, before, after})
    line.append("| ").append(cell + " ");
  return line + "|\n";
}

std::string percent(double share) { return number(100 * share, "%.1f") + "%"; }

// Of evaluations before training and of what was exported.
std::string table_of(const Scores& before, const Scores& after) {
  std::string table = "| | before training | this model |\n|---|---:|---:|\n";
  if (before.accuracy && after.accuracy) {
    table += row("accuracy", percent(before.accuracy->acc), percent(after.accuracy->acc));
    table += row("accuracy, length-normalised", percent(before.accuracy->acc_norm),
                 percent(after.accuracy->acc_norm));
  }
  if (before.likelihood && after.likelihood)
    table += row("perplexity", number(before.likelihood->perplexity(), "%.4g"),
                 number(after.likelihood->perplexity(), "%.4g"));
  return table;
}

std::string results_of(const RunConfig& config, const Results& results,
                       const CardFacts& facts) {
  const bool best = results.best && results.best->step == facts.exported;
  if (!results.before || (!best && !results.after)) return "";
  const Scores& after = best ? results.best->scores : *results.after;
  std::string text = "## Results\n\n" + table_of(*results.before, after) + "\nOn " +
                     names_of(config.eval.data);
  if (after.accuracy)
    text += ", HellaSwag's rule, " + format_count(after.accuracy->count, "row");
  if (after.likelihood)
    text += ", " + format_count(after.likelihood->tokens, "labelled token");
  return text + ".\n\n";
}

}  // namespace

std::string base_name(const std::string& path) {
  constexpr std::string_view kCache = "models--";
  for (const fs::path& part : fs::path(path)) {
    const std::string name = part.string();
    if (!name.starts_with(kCache)) continue;
    const size_t owner = kCache.size(), between = name.find("--", owner);
    if (between == std::string::npos) return name.substr(owner);
    return name.substr(owner, between - owner) + "/" + name.substr(between + 2);
  }
  return last_name(path);
}

std::string model_card(const RunConfig& config, const Results& results,
                       const CardFacts& facts) {
  const std::string base = base_name(config.model.path);
  const bool adapter = config.adapter.kind != AdapterKind::kNone;
  std::string text = "---\nbase_model: " + quoted(base) +
                     "\nlibrary_name: " + (adapter ? "peft" : "transformers") +
                     "\npipeline_tag: text-generation\n"
                     "tags:\n- lowmem-train\n---\n\n";
  text += "# " + code(base) + (adapter ? ", an adapter\n\n" : ", fine-tuned\n\n");
  text += code(base) + " trained on " + names_of(config.data.train) +
          " with lowmem-train " + std::string(version()) + ": " +
          format_count(facts.trained) + " of " + format_count(facts.parameters) +
          " parameters (" +
          (adapter ? code("adapter.targets") + ": " + names_of(config.adapter.targets)
                   : code("model.train") + ": " + names_of(config.model.train)) +
          "), " + std::string(rule_of(config.optimizer.name).label) + ", " +
          format_count(facts.exported, "update") + " of at most " +
          format_count(config.train.batch_size, "row") + ", " +
          format_count(facts.examples, "sequence") + " an epoch.";
  if (facts.exported != results.steps)
    text += " The run went on to " + format_count(results.steps, "update") +
            "; this is what evaluated best.";
  if (!facts.chats.empty())
    text += " Chats were written by the template " + code(last_name(facts.chats)) +
            ", which this folder holds.";
  if (adapter && config.adapter.loftq_iterations > 1)
    text += " It belongs beside the codes in the folder " + code(kBaseFolder) +
            " that the run left with it, which LoftQ made, and no others.";
  text += "\n\n" + results_of(config, results, facts);
  text +=
      "## To make it again\n\nWith the base and the data at their places, and these "
      "settings in " +
      code("config.yaml") + ":\n\n```\nlowmem-train --config config.yaml\n```\n\n";
  return text + "```yaml\n" + to_yaml(portable(config)) + "```\n";
}

}  // namespace lowmem::train

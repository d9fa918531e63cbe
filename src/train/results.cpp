#include "lowmem/train/results.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "lowmem/io/atomic_file.h"
#include "lowmem/train/arithmetic.h"

namespace lowmem::train {
namespace {

using nlohmann::ordered_json;

ordered_json json_of(const eval::Accuracy& accuracy) {
  return {
      {"acc", accuracy.acc}, {"acc_norm", accuracy.acc_norm}, {"count", accuracy.count}};
}

// The perplexity is there for the reader: loss and tokens say it all.
ordered_json json_of(const eval::Likelihood& likelihood) {
  return {{"loss", likelihood.loss},
          {"perplexity", likelihood.perplexity()},
          {"tokens", likelihood.tokens}};
}

// One part of the scores, `accuracy` or `likelihood`, before, after and in between.
template <class Part>
ordered_json course_of(const Results& results, std::optional<Part> Scores::*part) {
  const auto at = [&](const std::optional<Scores>& scores) {
    return scores && (*scores).*part ? json_of(*((*scores).*part)) : ordered_json();
  };
  ordered_json course = {{"before", at(results.before)},
                         {"after", at(results.after)},
                         {"epochs", ordered_json::array()}};
  for (const Results::Epoch& epoch : results.epochs) {
    if (!(epoch.scores.*part)) continue;
    ordered_json entry = {{"epoch", epoch.epoch}, {"step", epoch.step}};
    entry.update(json_of(*(epoch.scores.*part)));
    course["epochs"].push_back(entry);
  }
  return course;
}

// By what the run was doing, after `total`.
ordered_json by_phase(const Peaks& peaks) {
  ordered_json bytes = {{"total", peaks.total}};
  for (size_t i = 0; i < memory::kPhases; ++i)
    bytes[memory::phase_name(static_cast<memory::Phase>(i))] = peaks.by_phase[i];
  return bytes;
}

ordered_json json_of(const Results::Epoch& epoch) {
  ordered_json json = {{"epoch", epoch.epoch}, {"step", epoch.step}};
  if (epoch.scores.accuracy) json["accuracy"] = json_of(*epoch.scores.accuracy);
  if (epoch.scores.likelihood) json["perplexity"] = json_of(*epoch.scores.likelihood);
  return json;
}

nlohmann::json save_scores(const Scores& scores) {
  nlohmann::json saved = nlohmann::json::object();
  if (scores.accuracy) saved["accuracy"] = json_of(*scores.accuracy);
  if (scores.likelihood) saved["likelihood"] = json_of(*scores.likelihood);
  return saved;
}

nlohmann::json save_epoch(const Results::Epoch& epoch) {
  return {{"epoch", epoch.epoch},
          {"step", epoch.step},
          {"scores", save_scores(epoch.scores)}};
}

Scores load_scores(const nlohmann::json& saved) {
  Scores scores;
  if (saved.contains("accuracy")) {
    const auto& accuracy = saved["accuracy"];
    scores.accuracy = {accuracy.at("acc"), accuracy.at("acc_norm"), accuracy.at("count")};
  }
  if (saved.contains("likelihood")) {
    const auto& likelihood = saved["likelihood"];
    const auto& loss = likelihood.at("loss");  // JSON has no NaN: null
    scores.likelihood = {loss.is_null() ? std::nan("") : loss.get<double>(),
                         likelihood.at("tokens")};
  }
  return scores;
}

Results::Epoch load_epoch(const nlohmann::json& saved) {
  return {saved.at("epoch"), saved.at("step"), load_scores(saved.at("scores"))};
}

}  // namespace

Peaks Peaks::now(const Peaks& before) {
  Peaks peaks = before;
  peaks.total = std::max(peaks.total, memory::device_ledger().peak());
  const auto phases = memory::device_ledger().by_phase();
  for (size_t i = 0; i < phases.size(); ++i)
    peaks.by_phase[i] = std::max(peaks.by_phase[i], phases[i]);
  peaks.resident = std::max(peaks.resident, memory::peak_resident_bytes());
  peaks.device_used = std::max(peaks.device_used, memory::device_used_bytes());
  if (!memory::device().is_cpu())
    peaks.host = std::max(peaks.host, memory::host_ledger().peak());
  return peaks;
}

ordered_json Results::to_json() const {
  const Peaks peaks = Peaks::now(before_resume);
  const double in_steps = training_seconds > 0 ? training_seconds : 1;
  ordered_json json = {
      {"status", status},
      {"steps", steps},
      {"accuracy", course_of(*this, &Scores::accuracy)},
      {"perplexity", course_of(*this, &Scores::likelihood)},
      {"best", best ? json_of(*best) : ordered_json()},
      {"exported_step", status == "finished" ? ordered_json(exported) : ordered_json()},
      {"skipped_rows", skipped_rows},
      {"nonfinite_steps", nonfinite_steps},
      {"final_loss", final_loss ? ordered_json(*final_loss) : ordered_json()},
      {"peak_bytes", by_phase(peaks)},
      {"peak_rss_bytes", peaks.resident},
      {"device_used_bytes", peaks.device_used},
      {"host_peak_bytes", peaks.host},
      {"examples_per_second", static_cast<double>(examples) / in_steps},
      {"tokens_per_second", static_cast<double>(tokens) / in_steps},
      {"seconds", seconds},
      {"versions", arithmetic()},
  };
  if (!adapter_ranks.empty()) json["adapter_ranks"] = adapter_ranks;
  return json;
}

nlohmann::json Results::save() const {
  const Peaks peaks = Peaks::now(before_resume);
  nlohmann::json saved = {
      {"before", before ? save_scores(*before) : nlohmann::json()},
      {"epochs", nlohmann::json::array()},
      {"nonfinite_steps", nonfinite_steps},
      {"best", best ? save_epoch(*best) : nlohmann::json()},
      {"first_loss", first_loss ? nlohmann::json(*first_loss) : nlohmann::json()},
      {"final_loss", final_loss ? nlohmann::json(*final_loss) : nlohmann::json()},
      {"examples", examples},
      {"tokens", tokens},
      {"training_seconds", training_seconds},
      {"seconds", seconds},
      {"peaks",
       {{"total", peaks.total},
        {"by_phase", peaks.by_phase},
        {"resident", peaks.resident},
        {"device_used", peaks.device_used},
        {"host", peaks.host}}}};
  for (const Epoch& epoch : epochs) saved["epochs"].push_back(save_epoch(epoch));
  return saved;
}

Results Results::load(const nlohmann::json& saved) {
  Results results;
  if (const auto& before = saved.at("before"); !before.is_null())
    results.before = load_scores(before);
  for (const auto& epoch : saved.at("epochs"))
    results.epochs.push_back(load_epoch(epoch));
  // Checkpoints of earlier versions have neither of the two.
  if (const auto best = saved.find("best"); best != saved.end() && !best->is_null())
    results.best = load_epoch(*best);
  if (const auto loss = saved.find("first_loss"); loss != saved.end() && !loss->is_null())
    results.first_loss = loss->get<double>();
  results.nonfinite_steps = saved.at("nonfinite_steps");
  if (const auto& loss = saved.at("final_loss"); !loss.is_null())
    results.final_loss = loss.get<double>();
  results.examples = saved.at("examples");
  results.tokens = saved.at("tokens");
  results.training_seconds = saved.at("training_seconds");
  results.seconds = saved.at("seconds");
  const auto& peaks = saved.at("peaks");
  results.before_resume = {peaks.at("total"), peaks.at("by_phase"), peaks.at("resident"),
                           peaks.at("device_used"), peaks.value("host", int64_t{0})};
  return results;
}

void write_evaluation(const std::filesystem::path& path,
                      const eval::HellaSwagResult& result) {
  std::string text;
  for (const eval::RowScore& row : result.rows) {
    const ordered_json line = {{"index", row.index},
                               {"label", row.label},
                               {"log_likelihoods", row.log_likelihoods},
                               {"acc", row.acc ? 1 : 0},
                               {"acc_norm", row.acc_norm ? 1 : 0}};
    text += line.dump() + "\n";
  }
  write_file_atomically(path, text);
}

}  // namespace lowmem::train

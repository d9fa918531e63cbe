#include "metrics/report_tables.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "lowmem/core/units.h"
#include "lowmem/metrics/markup.h"

namespace lowmem::metrics {
namespace {

using Number = std::optional<double>;

constexpr const char* kNothing = "-";

std::string percent(Number share) {
  return share ? fmt::format("{:.1f}%", 100 * *share) : kNothing;
}
std::string perplexity(Number value) {
  if (!value) return kNothing;
  return *value < 1000 ? fmt::format("{:.2f}", *value) : fmt::format("{:.4g}", *value);
}
std::string loss(Number value) {
  return value ? fmt::format("{:.3f}", *value) : kNothing;
}
std::string rate(Number value) {
  return value ? fmt::format("{:.1f}", *value) : kNothing;
}
std::string time(Number value) { return value ? format_seconds(*value) : kNothing; }
std::string bytes(int64_t value) { return value > 0 ? format_bytes(value) : kNothing; }

// Which of the two kinds of evaluation any run has had.
struct Measured {
  bool accuracy = false, perplexity = false;
};

Measured measured(const std::vector<Method>& methods) {
  Measured found;
  for (const Method& method : methods)
    for (const ReportedRun* run : method.runs) {
      found.accuracy |= run->summary.accuracy.before || run->summary.accuracy.after;
      found.perplexity |= run->summary.perplexity.before || run->summary.perplexity.after;
    }
  return found;
}

void add_quality_columns(Table& table, const Measured& has) {
  if (has.accuracy) {
    table.columns.push_back({"accuracy before", true});
    table.columns.push_back({"accuracy after", true});
  }
  if (has.perplexity) {
    table.columns.push_back({"perplexity before", true});
    table.columns.push_back({"perplexity after", true});
  }
}

void add_cost_columns(Table& table) {
  for (const char* title : {"final loss", "peak memory", "examples/s", "time"})
    table.columns.push_back({title, true});
}

// The mean, and the range where the numbers differ: "99.8% (99.5% to 100.0%)".
template <class Get, class Format>
std::string mean(const std::vector<const ReportedRun*>& runs, Get get, Format format,
                 bool with_range = true) {
  std::vector<double> values;
  for (const ReportedRun* run : runs)
    if (const Number value = get(run->summary)) values.push_back(*value);
  if (values.empty()) return kNothing;
  double sum = 0;
  for (const double value : values) sum += value;
  std::string text = format(sum / static_cast<double>(values.size()));
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (!with_range || format(*low) == format(*high)) return text;
  return text + " (" + format(*low) + " to " + format(*high) + ")";
}

int64_t highest_peak(const std::vector<const ReportedRun*>& runs) {
  int64_t peak = 0;
  for (const ReportedRun* run : runs) peak = std::max(peak, run->summary.peak_bytes);
  return peak;
}

std::string value_of(const ReportedRun& run, size_t key) {
  return key < run.settings.size() ? run.settings[key] : kNothing;
}

std::string markdown(const Table& table) {
  std::string head = "|", line = "|", body;
  for (const Table::Column& column : table.columns) {
    head += " " + markdown_escaped(column.title) + " |";
    line += column.numeric ? "---:|" : "---|";
  }
  for (const Table::Row& row : table.rows) {
    body += "|";
    for (size_t i = 0; i < row.cells.size(); ++i)
      body +=
          " " + markdown_escaped(row.cells[i]) +
          (i == 0 && !row.note.empty() ? " (" + markdown_escaped(row.note) + ")" : "") +
          " |";
    body += "\n";
  }
  return head + "\n" + line + "\n" + body;
}

}  // namespace

std::string note_of(const RunSummary& run) {
  if (run.status == "finished") return "";
  return run.status + " after step " + format_count(run.steps);
}

Table results_table(const Report& report, const std::vector<Method>& methods) {
  const Measured has = measured(methods);
  Table table;
  table.columns = {{"run"}, {"method"}};
  add_quality_columns(table, has);
  add_cost_columns(table);
  std::vector<int> method_of_run(report.runs.size(), -1);
  for (const Method& method : methods)
    for (const ReportedRun* run : method.runs)
      method_of_run[static_cast<size_t>(run - report.runs.data())] =
          static_cast<int>(method.index);
  for (size_t i = 0; i < report.runs.size(); ++i) {
    const ReportedRun& run = report.runs[i];
    const RunSummary& summary = run.summary;
    Table::Row row{{run.name, run.method.empty() ? kNothing : run.method},
                   note_of(summary),
                   method_of_run[i]};
    if (has.accuracy)
      for (const Number& value : {summary.accuracy.before, summary.accuracy.after})
        row.cells.push_back(percent(value));
    if (has.perplexity)
      for (const Number& value : {summary.perplexity.before, summary.perplexity.after})
        row.cells.push_back(perplexity(value));
    row.cells.insert(row.cells.end(),
                     {loss(summary.final_loss), bytes(summary.peak_bytes),
                      rate(summary.examples_per_second), time(summary.seconds)});
    table.rows.push_back(row);
  }
  return table;
}

Table seeds_table(const std::vector<Method>& methods) {
  Table table;
  if (std::none_of(methods.begin(), methods.end(),
                   [](const Method& method) { return method.runs.size() > 1; }))
    return table;
  const Measured has = measured(methods);
  table.columns = {{"method"}, {"seeds", true}};
  add_quality_columns(table, has);
  add_cost_columns(table);
  for (const Method& method : methods) {
    const auto runs = method.finished();
    Table::Row row{
        {method.name, std::to_string(runs.size())}, "", static_cast<int>(method.index)};
    const auto add = [&](auto get, auto format, bool with_range = true) {
      row.cells.push_back(mean(runs, get, format, with_range));
    };
    if (has.accuracy) {
      add([](const RunSummary& run) { return run.accuracy.before; }, percent);
      add([](const RunSummary& run) { return run.accuracy.after; }, percent);
    }
    if (has.perplexity) {
      add([](const RunSummary& run) { return run.perplexity.before; }, perplexity);
      add([](const RunSummary& run) { return run.perplexity.after; }, perplexity);
    }
    add([](const RunSummary& run) { return run.final_loss; }, loss);
    row.cells.push_back(bytes(highest_peak(runs)));
    add([](const RunSummary& run) { return run.examples_per_second; }, rate, false);
    add([](const RunSummary& run) { return run.seconds; }, time, false);
    table.rows.push_back(row);
  }
  return table;
}

Table differences_table(const Report& report, const std::vector<Method>& methods) {
  Table table;
  if (report.keys.empty()) return table;
  if (report.keys.size() < methods.size()) {
    table.columns = {{"method"}};
    for (const std::string& key : report.keys) table.columns.push_back({key});
    for (const Method& method : methods) {
      Table::Row row{{method.name}, "", static_cast<int>(method.index)};
      for (size_t key = 0; key < report.keys.size(); ++key)
        row.cells.push_back(value_of(method.first(), key));
      table.rows.push_back(row);
    }
    return table;
  }
  table.columns = {{"setting"}};
  for (const Method& method : methods)
    table.columns.push_back({method.name, false, static_cast<int>(method.index)});
  for (size_t key = 0; key < report.keys.size(); ++key) {
    Table::Row row{{report.keys[key]}, "", -1};
    for (const Method& method : methods)
      row.cells.push_back(value_of(method.first(), key));
    table.rows.push_back(row);
  }
  return table;
}

std::string report_markdown(const Report& report) {
  const std::vector<Method> methods = methods_of(report);
  std::string text = markdown(results_table(report, methods));
  if (const Table seeds = seeds_table(methods); !seeds.rows.empty())
    text += "\nMeans over seeds (range), highest peak:\n\n" + markdown(seeds);
  if (const Table differences = differences_table(report, methods);
      !differences.rows.empty())
    text += "\nWhat differs between the configurations:\n\n" + markdown(differences);
  return text;
}

}  // namespace lowmem::metrics

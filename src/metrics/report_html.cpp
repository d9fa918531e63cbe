#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <set>

#include "lowmem/metrics/markup.h"
#include "lowmem/metrics/report.h"
#include "lowmem/metrics/svg_chart.h"
#include "metrics/report_figures.h"
#include "metrics/report_style.h"
#include "metrics/report_tables.h"

namespace lowmem::metrics {

const char* const kReportMark = "<!DOCTYPE html>\n<!-- made by lowmem-train report -->\n";

namespace {

// Names may break after a dot, a dash or an underscore.
std::string breakable(const std::string& name) {
  std::string html;
  for (const char c : html_escaped(name)) {
    html += c;
    if (c == '.' || c == '_' || c == '-' || c == '/') html += "<wbr/>";
  }
  return html;
}

// A short line in the method's colour, as in the charts.
std::string key_of(int method) {
  return fmt::format("<i class=\"key c{}{}\"></i>", method % kColours,
                     method >= kColours ? " dashed" : "");
}

std::string head_of(const Table& table) {
  std::string html = "<thead><tr>";
  for (const Table::Column& column : table.columns)
    html +=
        column.numeric
            ? "<th scope=\"col\" class=\"number\">" + html_escaped(column.title) + "</th>"
            : "<th scope=\"col\">" + (column.method >= 0 ? key_of(column.method) : "") +
                  breakable(column.title) + "</th>";
  return html + "</tr></thead>\n";
}

// A narrow page shows each row as a card, whose numbers have their column's title beside.
std::string html_of(const Table& table, const std::string& label, bool cards) {
  std::string html = fmt::format(
                         "<div class=\"scroll\" role=\"region\" aria-label=\"{}\" "
                         "tabindex=\"0\"><table{}>\n",
                         html_escaped(label), cards ? " class=\"cards\"" : "") +
                     head_of(table) + "<tbody>\n";
  for (const Table::Row& row : table.rows) {
    html += "<tr><th scope=\"row\">" + (row.method >= 0 ? key_of(row.method) : "") +
            breakable(row.cells[0]);
    if (!row.note.empty())
      html += " <span class=\"note\">" + html_escaped(row.note) + "</span>";
    html += "</th>";
    for (size_t i = 1; i < row.cells.size(); ++i)
      html +=
          fmt::format("<td{} data-title=\"{}\">{}</td>",
                      table.columns[i].numeric ? " class=\"number\"" : "",
                      html_escaped(table.columns[i].title), html_escaped(row.cells[i]));
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string paragraph(const char* css, const std::string& text) {
  if (text.empty()) return "";
  return fmt::format("<p class=\"{}\">{}</p>\n", css, html_escaped(text));
}

// With a legend, unless its title says whose it is or there is but one method.
std::string html_of(const Figure& figure, const std::vector<Method>& methods) {
  const int owner = figure.of_method;
  std::string html =
      fmt::format("<figure>\n<h3>{}{}</h3>\n", owner >= 0 ? key_of(owner) : "",
                  html_escaped(figure.title));
  html += paragraph("subtitle", figure.subtitle);
  if (owner < 0 && methods.size() > 1) {
    html += "<ul class=\"legend\">";
    for (const int method : figure.methods)
      html += "<li>" + key_of(method) +
              html_escaped(methods[static_cast<size_t>(method)].name) + "</li>";
    html += "</ul>\n";
  }
  html += figure.svg;
  if (!figure.caption.empty())
    html += "<figcaption>" + html_escaped(figure.caption) + "</figcaption>\n";
  return html + "</figure>\n";
}

std::string counted(size_t count, const std::string& thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

std::string head(const Report& report, const std::vector<Method>& methods) {
  std::set<std::string> versions;
  for (const ReportedRun& run : report.runs)
    if (!run.summary.versions.empty()) versions.insert(run.summary.versions);
  std::string about = counted(report.runs.size(), "run");
  if (methods.size() < report.runs.size())
    about += " of " + counted(methods.size(), "method");
  for (const std::string& version : versions) about += " · " + version;
  return std::string(kReportMark) +
         "<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
         "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
         "<title>Fine-tuning report</title>\n<style>\n" +
         kReportStyle +
         "</style>\n</head>\n<body>\n<main>\n<header>\n<h1>Fine-tuning report</h1>\n" +
         paragraph("subtitle", about) + "</header>\n";
}

std::string memory_section(const std::vector<Method>& methods) {
  const std::vector<Figure> figures = memory_figures(methods);
  if (figures.empty()) return "";
  std::string html =
      "<section>\n<h2>Memory by phase</h2>\n"
      "<ul class=\"legend\"><li><i class=\"patch s0\"></i>weights</li>"
      "<li><i class=\"patch s1\"></i>optimizer state</li>"
      "<li><i class=\"patch s2\"></i>what the phase adds: activations, gradients, "
      "workspaces</li></ul>\n<div class=\"charts\">\n";
  for (const Figure& figure : figures) html += html_of(figure, methods);
  return html +
         "</div>\n<p class=\"explanation\">A bar is the highest sum of all tensors' "
         "bytes "
         "during that phase. Phases reach their peaks at different moments, so bars do "
         "not "
         "add up: the longest is the run's peak. Weights are the peak of loading; "
         "optimizer state is what saving, when gradients and activations are gone, holds "
         "above it. Backward includes loss and head. Over several seeds, the "
         "highest.</p>\n"
         "</section>\n";
}

std::string curves_section(const std::vector<Method>& methods) {
  std::vector<Figure> figures;
  for (const auto& figure :
       {loss_figure(methods), accuracy_figure(methods), perplexity_figure(methods),
        rounding_figure(methods), ranks_figure(methods)})
    if (figure) figures.push_back(*figure);
  if (figures.empty()) return "";
  std::string html = fmt::format(
      "<section>\n<h2>Training</h2>\n<div class=\"charts of{}\">\n", figures.size());
  for (const Figure& figure : figures) html += html_of(figure, methods);
  return html + "</div>\n</section>\n";
}

std::string table_section(const std::string& title, const Table& table,
                          bool cards = true) {
  if (table.rows.empty()) return "";
  return "<section>\n<h2>" + title + "</h2>\n" + html_of(table, title, cards) +
         "</section>\n";
}

}  // namespace

std::string report_html(const Report& report) {
  const std::vector<Method> methods = methods_of(report);
  const Table seeds = seeds_table(methods), runs = results_table(report, methods);
  const bool several = !seeds.rows.empty();
  return head(report, methods) +
         (several ? table_section("Means over seeds (range), highest peak", seeds)
                  : table_section("Results", runs)) +
         curves_section(methods) + memory_section(methods) +
         table_section("What differs between the configurations",
                       differences_table(report, methods), false) +
         (several ? table_section("Every run", runs) : "") +
         "</main>\n</body>\n</html>\n";
}

}  // namespace lowmem::metrics

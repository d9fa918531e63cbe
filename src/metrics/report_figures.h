#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lowmem/metrics/report.h"
#include "metrics/report_methods.h"

namespace lowmem::metrics {

// A chart with its words, all plain text but the chart.
struct Figure {
  std::string title, subtitle;
  std::string svg;
  std::string caption;
  std::vector<int> methods;  // by index: those in it, for its legend
  int of_method = -1;        // the one that it is about, where it is about one
};

// Nullopt where no run has such numbers.
std::optional<Figure> loss_figure(const std::vector<Method>& methods);
std::optional<Figure> accuracy_figure(const std::vector<Method>& methods);
std::optional<Figure> perplexity_figure(const std::vector<Method>& methods);
std::optional<Figure> rounding_figure(const std::vector<Method>& methods);
std::optional<Figure> ranks_figure(const std::vector<Method>& methods);

// A figure a method that has a results.json: a bar for each phase's peak, split in three.
// All on one scale.
std::vector<Figure> memory_figures(const std::vector<Method>& methods);

}  // namespace lowmem::metrics

#include "metrics/report_figures.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lowmem/core/units.h"
#include "lowmem/metrics/svg_chart.h"

namespace lowmem::metrics {
namespace {

constexpr size_t kMostPoints = 500;  // of a curve

// Curves whose highest value is so many times the lowest are drawn on a logarithmic axis.
// A loss that falls from 7 to 0.6 would otherwise spend most of the height on its first
// steps, and runs are compared by where they end.
constexpr double kLogFrom = 5;

// From so many lines on, a curve's mean is drawn over it.
constexpr size_t kSmoothFrom = 60;

// Steps, or passes over the rows where a step means different things in different runs.
struct Abscissa {
  bool epochs = false;

  explicit Abscissa(const std::vector<Method>& methods) {
    double first = 0;
    bool known = true;
    for (const Method& method : methods)
      for (const ReportedRun* run : method.runs) {
        const double here = run->summary.steps_per_epoch;
        known &= here > 0;
        if (first == 0) first = here;
        epochs |= std::abs(here - first) > 1e-6 * first;
      }
    epochs &= known;
  }
  double of(int64_t step, const RunSummary& run) const {
    return epochs ? static_cast<double>(step) / run.steps_per_epoch
                  : static_cast<double>(step);
  }
  const char* label() const { return epochs ? "epoch" : "step"; }
};

struct Curve {
  int method = 0;
  std::string name;
  std::vector<Point> points;
};

// `points_of` gives a run's curve, empty where it has none.
template <class PointsOf>
std::vector<Curve> curves_of(const std::vector<Method>& methods, PointsOf points_of) {
  std::vector<Curve> curves;
  for (const Method& method : methods)
    for (const ReportedRun* run : method.runs) {
      Curve curve{static_cast<int>(method.index), run->name, points_of(run->summary)};
      const bool any = std::any_of(curve.points.begin(), curve.points.end(),
                                   [](const Point& p) { return std::isfinite(p.y); });
      if (any) curves.push_back(std::move(curve));
    }
  return curves;
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

Range y_range(const std::vector<Curve>& curves) {
  Range range;
  for (const Curve& curve : curves)
    for (const Point& point : curve.points) range.add(point.y);
  return range;
}

Scale x_scale(const std::vector<Curve>& curves) {
  Range range;
  range.add(0);
  for (const Curve& curve : curves)
    for (const Point& point : curve.points) range.add(point.x);
  Scale scale = linear_scale(range.low, range.high);
  scale.high = range.high > 0 ? range.high : 1;  // curves reach the edge
  std::erase_if(scale.ticks, [&](double tick) { return tick > scale.high; });
  return scale;
}

bool wants_log(const Range& range) {
  return range.low > 0 && range.high / range.low >= kLogFrom;
}

bool coincide(const Curve& a, const Curve& b) {
  return std::equal(a.points.begin(), a.points.end(), b.points.begin(), b.points.end(),
                    [](const Point& p, const Point& q) {
                      return p.x == q.x &&
                             (p.y == q.y || (std::isnan(p.y) && std::isnan(q.y)));
                    });
}

// Equal curves hide one another: the later one is dashed, and the caption names both.
std::vector<size_t> first_equal(const std::vector<Curve>& curves) {
  std::vector<size_t> first(curves.size());
  for (size_t i = 0; i < curves.size(); ++i)
    for (first[i] = 0; !coincide(curves[first[i]], curves[i]);) ++first[i];
  return first;
}

std::string said_of_equal(const std::vector<Curve>& curves,
                          const std::vector<size_t>& first) {
  std::string said;
  for (size_t i = 0; i < curves.size(); ++i) {
    std::string names;
    for (size_t j = i + 1; first[i] == i && j < curves.size(); ++j)
      if (first[j] == i) names += ", " + curves[j].name;
    if (!names.empty()) said += " Equal in every number: " + curves[i].name + names + ".";
  }
  return said;
}

Figure figure_of(const std::string& title, const std::vector<Curve>& curves, Scale y,
                 const std::string& unit, const Abscissa& abscissa, bool dots) {
  LineChart chart{title, abscissa.label(), x_scale(curves), std::move(y), unit, {}};
  Figure figure;
  figure.title = title;
  const std::vector<size_t> first = first_equal(curves);
  bool smooth = false;
  for (size_t i = 0; i < curves.size(); ++i) {
    const Curve& curve = curves[i];
    if (figure.methods.empty() || figure.methods.back() != curve.method)
      figure.methods.push_back(curve.method);
    ChartLine line{curve.name, curve.method, decimated(curve.points, kMostPoints),
                   ChartLine::Look::kPlain, dots};
    if (curve.points.size() >= kSmoothFrom) {
      smooth = true;
      line.look = ChartLine::Look::kFaint;
      chart.lines.insert(chart.lines.begin(), line);
      line.points =
          decimated(smoothed(curve.points, curve.points.size() / 40), kMostPoints);
    }
    line.look = first[i] < i || curve.method >= kColours ? ChartLine::Look::kDashed
                                                         : ChartLine::Look::kPlain;
    chart.lines.push_back(line);
  }
  figure.svg = svg_of(chart);
  if (smooth)
    figure.caption = "Faint: as logged. Bold: the mean over a twentieth of the run.";
  figure.caption += said_of_equal(curves, first);
  return figure;
}

using Field = std::optional<double> LoggedStep::*;

std::vector<Curve> logged_curves(const std::vector<Method>& methods,
                                 const Abscissa& abscissa, Field field, double factor) {
  return curves_of(methods, [&](const RunSummary& run) {
    std::vector<Point> points;
    for (const LoggedStep& logged : run.logged)
      points.push_back({abscissa.of(logged.step, run),
                        (logged.*field).value_or(std::nan("")) * factor});
    return points;
  });
}

std::vector<Curve> quality_curves(const std::vector<Method>& methods,
                                  const Abscissa& abscissa, Quality RunSummary::*quality,
                                  double factor) {
  return curves_of(methods, [&](const RunSummary& run) {
    std::vector<Point> points;
    for (const Quality::Point& point : (run.*quality).points)
      points.push_back({abscissa.of(point.step, run), point.value * factor});
    return points;
  });
}

Scale scale_of(const Range& range) {
  return wants_log(range) ? log_scale(range.low, range.high)
                          : linear_scale(range.low, range.high);
}

}  // namespace

std::optional<Figure> loss_figure(const std::vector<Method>& methods) {
  const Abscissa abscissa(methods);
  const auto curves = logged_curves(methods, abscissa, &LoggedStep::loss, 1);
  if (curves.empty()) return std::nullopt;
  const Range range = y_range(curves);
  Figure figure =
      figure_of("Training loss", curves, scale_of(range), "", abscissa, false);
  figure.subtitle =
      wants_log(range) ? "per labelled token, logarithmic axis" : "per labelled token";
  return figure;
}

std::optional<Figure> accuracy_figure(const std::vector<Method>& methods) {
  const Abscissa abscissa(methods);
  const auto curves = quality_curves(methods, abscissa, &RunSummary::accuracy, 100);
  if (curves.empty()) return std::nullopt;
  Range range = y_range(curves);
  if (range.low == range.high) range.low = 0, range.high = 100;
  Figure figure = figure_of("Accuracy", curves, linear_scale(range.low, range.high), "%",
                            abscissa, true);
  figure.subtitle = "on the evaluation rows";
  return figure;
}

std::optional<Figure> perplexity_figure(const std::vector<Method>& methods) {
  const Abscissa abscissa(methods);
  const auto curves = quality_curves(methods, abscissa, &RunSummary::perplexity, 1);
  if (curves.empty()) return std::nullopt;
  const Range range = y_range(curves);
  Figure figure = figure_of("Perplexity", curves, scale_of(range), "", abscissa, true);
  figure.subtitle = wants_log(range) ? "on the evaluation rows, logarithmic axis"
                                     : "on the evaluation rows";
  return figure;
}

std::optional<Figure> rounding_figure(const std::vector<Method>& methods) {
  const Abscissa abscissa(methods);
  const auto curves = logged_curves(methods, abscissa, &LoggedStep::rounding_lost, 100);
  if (curves.empty()) return std::nullopt;
  Range range = y_range(curves);
  if (range.high <= 0) range.high = 1;
  Figure figure = figure_of("Updates below half a unit", curves,
                            linear_scale(0, range.high), "%", abscissa, false);
  figure.subtitle = "in the last place of their bf16 weight";
  figure.caption =
      "Rounding to nearest loses these updates; stochastic and Kahan rounding keep "
      "them. " +
      figure.caption;
  return figure;
}

std::optional<Figure> ranks_figure(const std::vector<Method>& methods) {
  const Abscissa abscissa(methods);
  const auto curves = logged_curves(methods, abscissa, &LoggedStep::adapter_rank, 1);
  if (curves.empty()) return std::nullopt;
  Figure figure = figure_of("Ranks", curves, linear_scale(0, y_range(curves).high), "",
                            abscissa, false);
  figure.subtitle = "triplets that AdaLoRA has left, of all adapted layers";
  return figure;
}

std::vector<Figure> memory_figures(const std::vector<Method>& methods) {
  // A method's peak is the highest of its runs.
  const auto peak_of = [](const Method& method, const std::string& phase) {
    int64_t peak = 0;
    for (const ReportedRun* run : method.runs)
      peak = std::max(peak, run->summary.phase_peak(phase));
    return peak;
  };
  const std::vector<std::string> phases = {"load",   "forward",  "backward",
                                           "update", "evaluate", "save"};
  int64_t highest = 0;
  for (const Method& method : methods)
    for (const std::string& phase : phases)
      highest = std::max(highest, peak_of(method, phase));
  if (highest == 0) return {};
  const auto [unit, unit_name] = highest >= kGiB   ? std::pair{kGiB, "GiB"}
                                 : highest >= kMiB ? std::pair{kMiB, "MiB"}
                                                   : std::pair{kKiB, "KiB"};
  const auto in_unit = [unit = unit](int64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(unit);
  };
  std::vector<Figure> figures;
  for (const Method& method : methods) {
    int64_t peak = 0;
    for (const std::string& phase : phases) peak = std::max(peak, peak_of(method, phase));
    if (peak == 0) continue;
    const int64_t weights = peak_of(method, "load");
    const int64_t staying = std::max(weights, peak_of(method, "save"));
    BarChart chart{"Peak memory of " + method.name + " by phase",
                   unit_name,
                   linear_scale(0, in_unit(highest), 7),
                   {}};
    for (const std::string& phase : phases) {
      const int64_t bytes = peak_of(method, phase);
      if (bytes == 0) continue;
      const int64_t first = std::min(bytes, weights);
      const int64_t second = std::min(bytes, staying) - first;
      const int64_t third = bytes - first - second;
      chart.rows.push_back(
          {phase,
           {in_unit(first), in_unit(second), in_unit(third)},
           {"weights: " + format_bytes(first), "optimizer: " + format_bytes(second),
            "this phase: " + format_bytes(third)},
           fmt::format("{:.2f} {}", in_unit(bytes), unit_name),
           bytes == peak});
    }
    const int index = static_cast<int>(method.index);
    figures.push_back(
        {method.name, "peak " + format_bytes(peak), svg_of(chart), "", {index}, index});
  }
  return figures;
}

}  // namespace lowmem::metrics

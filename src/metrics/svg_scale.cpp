#include "lowmem/metrics/svg_scale.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

namespace lowmem::metrics {
namespace {

constexpr double kSteps[] = {1, 2, 5};

// The least of 1, 2, 5, 10, ... times a power of ten that is at least `value`.
double round_up(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double step : kSteps)
    if (step * power >= value * (1 - 1e-9)) return step * power;
  return 10 * power;
}

// The nth number of 1, 2, 5, 10, 20, 50, ...; n may be negative.
double rung(int n) {
  const int decade = n >= 0 ? n / 3 : -((2 - n) / 3);
  return kSteps[n - 3 * decade] * std::pow(10, decade);
}

}  // namespace

double Scale::position(double value) const {
  if (log) return std::log(value / low) / std::log(high / low);
  return (value - low) / (high - low);
}

Scale linear_scale(double lowest, double highest, int most_ticks) {
  if (!(highest > lowest)) {  // one value: some room around it
    const double room = lowest == 0 ? 1 : std::abs(lowest) / 2;
    lowest -= lowest == 0 ? 0 : room;
    highest += room;
  }
  Scale scale;
  // Rounding outwards may add an interval.
  for (double step = round_up((highest - lowest) / most_ticks);;
       step = round_up(step * 1.5)) {
    const double first = std::floor(lowest / step + 1e-9);
    const double last = std::ceil(highest / step - 1e-9);
    if (last - first + 1 > most_ticks) continue;
    for (double tick = first; tick <= last; ++tick) scale.ticks.push_back(tick * step);
    break;
  }
  scale.low = scale.ticks.front();
  scale.high = scale.ticks.back();
  return scale;
}

Scale log_scale(double lowest, double highest, int most_ticks) {
  int first = 3 * static_cast<int>(std::floor(std::log10(lowest)));
  while (rung(first + 1) <= lowest * (1 + 1e-9)) ++first;
  int last = first + 1;
  while (rung(last) < highest * (1 - 1e-9)) ++last;
  int every = 1;
  while ((last - first) / every + 1 > most_ticks) every = every == 1 ? 3 : every + 3;
  if (every > 1) {  // powers of ten alone
    while (first % every != 0) --first;
    while (last % every != 0) ++last;
  }
  Scale scale{rung(first), rung(last), true, {}};
  for (int n = first; n <= last; n += every) scale.ticks.push_back(rung(n));
  return scale;
}

std::string tick_label(double value) {
  const double size = std::abs(value);
  if (size != 0 && (size < 1e-4 || size >= 1e15)) return fmt::format("{:.3g}", value);
  for (const auto& [unit, letter] :
       {std::pair{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}})
    if (size >= 10 * unit || (size >= unit && std::fmod(size, unit) == 0))
      return fmt::format("{:.6g}{}", value / unit, letter);
  return fmt::format("{:.6g}", value);
}

std::vector<Point> decimated(const std::vector<Point>& points, size_t most) {
  if (points.size() <= most || most < 4) return points;
  std::vector<Point> kept = {points.front()};
  const size_t stretches = (most - 2) / 2, inner = points.size() - 2;
  for (size_t i = 0; i < stretches; ++i) {
    const auto begin = points.begin() + 1 + static_cast<long>(i * inner / stretches);
    const auto end = points.begin() + 1 + static_cast<long>((i + 1) * inner / stretches);
    // A gap is neither lowest nor highest unless there is nothing else.
    auto lowest = begin, highest = begin;
    for (auto point = begin; point != end; ++point) {
      if (!std::isfinite(point->y)) continue;
      if (!std::isfinite(lowest->y) || point->y < lowest->y) lowest = point;
      if (!std::isfinite(highest->y) || point->y > highest->y) highest = point;
    }
    kept.push_back(*std::min(lowest, highest));
    if (lowest != highest) kept.push_back(*std::max(lowest, highest));
  }
  kept.push_back(points.back());
  return kept;
}

std::vector<Point> smoothed(const std::vector<Point>& points, size_t reach) {
  std::vector<double> sums = {0};
  std::vector<size_t> counts = {0};
  for (const Point& point : points) {
    const bool counted = std::isfinite(point.y);
    sums.push_back(sums.back() + (counted ? point.y : 0));
    counts.push_back(counts.back() + (counted ? 1 : 0));
  }
  std::vector<Point> means = points;
  for (size_t i = 0; i < points.size(); ++i) {
    const size_t side = std::min({reach, i, points.size() - 1 - i});
    const size_t from = i - side, to = i + side + 1, count = counts[to] - counts[from];
    if (std::isfinite(points[i].y) && count > 0)
      means[i].y = (sums[to] - sums[from]) / static_cast<double>(count);
  }
  return means;
}

}  // namespace lowmem::metrics

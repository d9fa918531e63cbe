#pragma once

#include <string>
#include <vector>

namespace lowmem::metrics {

// Where values lie along an axis, and the values that are written at it.
struct Scale {
  double low = 0, high = 1;  // low < high; with `log` both above 0
  bool log = false;
  std::vector<double> ticks;  // round numbers from `low` to `high`, ascending

  // 0 at `low`, 1 at `high`.
  double position(double value) const;
};

// The smallest scale that holds both values, ends on a tick and has at most `most_ticks`,
// which are 1, 2 or 5 times a power of ten apart.
Scale linear_scale(double lowest, double highest, int most_ticks = 6);

// The same on a logarithmic axis, for values above 0: ticks at 1, 2 and 5 times the
// powers of ten, or at some of those powers.
Scale log_scale(double lowest, double highest, int most_ticks = 8);

// A tick as it is written: "0.05", "1.5", "20k".
std::string tick_label(double value);

struct Point {
  double x = 0, y = 0;  // a y that is not finite is a gap
};

// At most `most` of the points, in their order: the first and the last, and the lowest
// and the highest of each stretch between, so that no peak is lost.
std::vector<Point> decimated(const std::vector<Point>& points, size_t most = 500);

// Each point's mean with the `reach` points on either side, fewer at the ends: as many on
// one side as on the other, so that a line keeps its slope there. Gaps count for nothing.
std::vector<Point> smoothed(const std::vector<Point>& points, size_t reach);

}  // namespace lowmem::metrics

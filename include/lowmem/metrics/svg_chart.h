#pragma once

#include <string>
#include <vector>

#include "lowmem/metrics/svg_scale.h"

// Charts as inline SVG, which know nothing of runs. Colours, fonts and widths come from
// the page's style sheet by class: `c0` ... `c7` colour a line, `s0` ... `s2` a segment
// of a bar. Names are escaped here. A chart has a viewBox and no size: it fills its
// column.
namespace lowmem::metrics {

constexpr int kColours = 8;

struct ChartLine {
  enum class Look { kPlain, kDashed, kFaint };
  std::string name;  // shown where the pointer rests on it, and read aloud
  int colour = 0;    // modulo kColours
  std::vector<Point> points;
  Look look = Look::kPlain;
  bool dots = false;  // at every point
};

struct LineChart {
  std::string title;    // read aloud
  std::string x_label;  // below the axis
  Scale x, y;
  std::string y_unit;  // after each number of the y axis: "%"
  std::vector<ChartLine> lines;
};
std::string svg_of(const LineChart& chart);

struct BarRow {
  std::string label;             // to the left
  std::vector<double> segments;  // laid end to end, in the unit of the scale
  std::vector<std::string> segment_titles;
  std::string value;      // to the right
  bool emphasis = false;  // label and value in bold
};

struct BarChart {
  std::string title, x_label;
  Scale x;
  std::vector<BarRow> rows;
};
std::string svg_of(const BarChart& chart);

}  // namespace lowmem::metrics

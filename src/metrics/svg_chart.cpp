#include "lowmem/metrics/svg_chart.h"

#include <spdlog/fmt/fmt.h>

#include <cmath>

#include "lowmem/metrics/markup.h"

namespace lowmem::metrics {
namespace {

// The plot's area inside the viewBox, in its units, which are near a pixel each.
struct Area {
  double left, top, right, bottom;

  double x(const Scale& scale, double value) const {
    return left + (right - left) * scale.position(value);
  }
  double y(const Scale& scale, double value) const {
    return bottom - (bottom - top) * scale.position(value);
  }
};

std::string opening(const std::string& title, int width, int height) {
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n",
                     width, height, html_escaped(title));
}

std::string text(const char* css, double x, double y, const std::string& content) {
  return fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", css, x,
                     y, html_escaped(content));
}

std::string straight(const char* css, double x1, double y1, double x2, double y2) {
  return fmt::format("<path class=\"{}\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>\n", css, x1,
                     y1, x2, y2);
}

std::string x_axis(const Area& area, const Scale& scale, const std::string& label) {
  std::string svg = straight("axis", area.left, area.bottom, area.right, area.bottom);
  for (const double tick : scale.ticks) {
    const double x = area.x(scale, tick);
    svg += straight("axis", x, area.bottom, x, area.bottom + 4);
    svg += text("tick middle", x, area.bottom + 18, tick_label(tick));
  }
  return svg +
         text("label middle", (area.left + area.right) / 2, area.bottom + 36, label);
}

std::string y_axis(const Area& area, const Scale& scale, const std::string& unit) {
  std::string svg;
  for (const double tick : scale.ticks) {
    const double y = area.y(scale, tick);
    svg += straight("grid", area.left, y, area.right, y);
    svg += text("tick end", area.left - 7, y + 4, tick_label(tick) + unit);
  }
  return svg;
}

// Lines to within a tenth of a unit; gaps lift the pen.
std::string path_of(const Area& area, const LineChart& chart, const ChartLine& line) {
  std::string path;
  bool down = false;
  for (const Point& point : line.points) {
    if (!std::isfinite(point.y)) {
      down = false;
      continue;
    }
    path += fmt::format("{}{:.1f} {:.1f}", down ? 'L' : 'M', area.x(chart.x, point.x),
                        area.y(chart.y, point.y));
    down = true;
  }
  return path;
}

std::string marks(const Area& area, const LineChart& chart, const ChartLine& line) {
  constexpr const char* kLooks[] = {"line", "line dashed", "line faint"};
  std::string svg =
      fmt::format("<g class=\"c{}\"><title>{}</title>\n<path class=\"{}\" d=\"{}\"/>\n",
                  line.colour % kColours, html_escaped(line.name),
                  kLooks[static_cast<int>(line.look)], path_of(area, chart, line));
  // Where a line ends can be seen; a single point would not show otherwise.
  size_t last = line.points.size();
  while (last > 0 && !std::isfinite(line.points[last - 1].y)) --last;
  for (size_t i = 0; i < last; ++i) {
    const Point& point = line.points[i];
    if (!std::isfinite(point.y) || line.look == ChartLine::Look::kFaint) continue;
    if (!line.dots && i + 1 < last) continue;
    svg += fmt::format(
        "<circle class=\"dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.2\"><title>{}: {:.4g}{} "
        "at {} "
        "{}</title></circle>\n",
        area.x(chart.x, point.x), area.y(chart.y, point.y), html_escaped(line.name),
        point.y, html_escaped(chart.y_unit), html_escaped(chart.x_label),
        tick_label(point.x));
  }
  return svg + "</g>\n";
}

}  // namespace

std::string svg_of(const LineChart& chart) {
  constexpr int kWidth = 440, kHeight = 270;
  const Area area{44, 12, kWidth - 16, kHeight - 46};
  std::string svg = opening(chart.title, kWidth, kHeight);
  svg += y_axis(area, chart.y, chart.y_unit) + x_axis(area, chart.x, chart.x_label);
  for (const ChartLine& line : chart.lines) svg += marks(area, chart, line);
  return svg + "</svg>\n";
}

std::string svg_of(const BarChart& chart) {
  constexpr int kWidth = 440, kRow = 24, kBar = 14;
  const double height = static_cast<double>(chart.rows.size()) * kRow;
  const Area area{74, 6, kWidth - 76, 6 + height};
  std::string svg = opening(chart.title, kWidth, static_cast<int>(area.bottom) + 44);
  for (const double tick : chart.x.ticks) {
    const double x = area.x(chart.x, tick);
    svg += straight("grid", x, area.top, x, area.bottom);
  }
  double top = area.top + (kRow - kBar) / 2.0;
  for (const BarRow& row : chart.rows) {
    const std::string weight = row.emphasis ? " strong" : "";
    svg += text(("bar-label end" + weight).c_str(), area.left - 8, top + kBar - 3,
                row.label);
    double from = chart.x.low;
    for (size_t i = 0; i < row.segments.size(); ++i) {
      const double x = area.x(chart.x, from);
      from += row.segments[i];
      const double width = area.x(chart.x, from) - x;
      if (width <= 0) continue;
      svg += fmt::format(
          "<rect class=\"s{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
          "height=\"{}\"><title>{}</title></rect>\n",
          i, x, top, std::max(width, 0.1), kBar, html_escaped(row.segment_titles[i]));
    }
    svg += text(("bar-value" + weight).c_str(), area.x(chart.x, from) + 6, top + kBar - 3,
                row.value);
    top += kRow;
  }
  return svg + x_axis(area, chart.x, chart.x_label) + "</svg>\n";
}

}  // namespace lowmem::metrics

#include "lowmem/core/units.h"

#include <spdlog/fmt/fmt.h>

#include <cmath>

namespace lowmem {

std::string format_bytes(int64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (std::llabs(bytes) >= kGiB) return fmt::format("{:.2f} GiB", value / kGiB);
  if (std::llabs(bytes) >= kMiB) return fmt::format("{:.1f} MiB", value / kMiB);
  if (std::llabs(bytes) >= kKiB) return fmt::format("{:.1f} KiB", value / kKiB);
  return fmt::format("{} B", bytes);
}

std::string format_seconds(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const int64_t whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  return fmt::format("{}h {:02}m", whole / 3600, whole % 3600 / 60);
}

std::string format_count(int64_t count) {
  std::string digits = std::to_string(count);
  for (int at = static_cast<int>(digits.size()) - 3; at > (count < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

}  // namespace lowmem

#include "lowmem/core/units.h"

#include <spdlog/fmt/fmt.h>

#include <cctype>
#include <charconv>
#include <cmath>

#include "lowmem/core/error.h"

namespace lowmem {

std::string format_bytes(int64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (std::llabs(bytes) >= kGiB) return fmt::format("{:.2f} GiB", value / kGiB);
  if (std::llabs(bytes) >= kMiB) return fmt::format("{:.1f} MiB", value / kMiB);
  if (std::llabs(bytes) >= kKiB) return fmt::format("{:.1f} KiB", value / kKiB);
  return fmt::format("{} B", bytes);
}

std::string format_bytes_up(int64_t bytes) {
  const double step = bytes >= kGiB   ? kGiB / 100.0
                      : bytes >= kMiB ? kMiB / 10.0
                      : bytes >= kKiB ? kKiB / 10.0
                                      : 1.0;
  const double steps = std::ceil(static_cast<double>(bytes) / step);
  return format_bytes(static_cast<int64_t>(std::ceil(steps * step)));
}

int64_t parse_bytes(std::string_view text) {
  const auto refuse = [&] {
    return Error(std::string(text), "is not an amount of memory",
                 "Write it like 12GiB or 800MB");
  };
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data(), end, value);
  if (code != std::errc{} || !(value >= 0) || !std::isfinite(value)) throw refuse();
  std::string unit;
  for (const char* at = rest; at != end; ++at)
    if (*at != ' ')
      unit += static_cast<char>(std::tolower(static_cast<unsigned char>(*at)));
  double factor = 1;
  if (!unit.empty() && unit != "b") {
    constexpr std::string_view kPrefixes = "kmgt";
    const size_t prefix = kPrefixes.find(unit[0]);
    const std::string_view after = std::string_view(unit).substr(1);
    const bool decimal = after == "b";
    if (prefix == std::string_view::npos || !(decimal || after.empty() || after == "ib"))
      throw refuse();
    factor = std::pow(decimal ? 1000.0 : 1024.0, static_cast<double>(prefix + 1));
  }
  constexpr double kMost = 1e18;
  if (value * factor > kMost)
    throw Error(std::string(text), "is more memory than any machine has",
                "Write it like 12GiB or 800MB");
  return std::llround(value * factor);
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

std::string format_count(int64_t count, std::string_view noun) {
  return format_count(count) + " " + std::string(noun) + (count == 1 ? "" : "s");
}

}  // namespace lowmem

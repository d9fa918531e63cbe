#include "lowmem/metrics/progress.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "lowmem/core/log.h"
#include "lowmem/core/units.h"

namespace lowmem::metrics {
namespace {

constexpr double kLong = 10;    // seconds after which a log hears of a stage
constexpr double kSoon = 1e-3;  // seconds between two looks at the clock: from here ...
constexpr double kLate = 2e-2;  // ... to here
// Few enough that slow items after many fast ones are seen.
constexpr int64_t kMostAdds = 16;
// Before so much is known of a stage's speed, a time left would jump.
constexpr double kSecondsToJudge = 1;

double seconds_between(std::chrono::steady_clock::time_point from,
                       std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

int g_silences = 0;

}  // namespace

Progress::Silence::Silence() { ++g_silences; }
Progress::Silence::~Silence() { --g_silences; }

Progress::Progress(std::string what, int64_t total, Unit unit)
    : what_(std::move(what)), total_(total), unit_(unit), told_(g_silences > 0) {
  if (g_silences == 0) line_.emplace(what_);
}

void Progress::look() {
  const Clock::time_point now = Clock::now();
  const double since = seconds_between(looked_, now);
  if (since < kSoon) adds_between_ = std::min(kMostAdds, 2 * adds_between_);
  if (since > kLate) adds_between_ = std::max<int64_t>(1, adds_between_ / 2);
  adds_to_go_ = adds_between_;
  looked_ = now;
  const double seconds = seconds_between(start_, now);
  if (live_line::on()) {
    if (line_ && live_line::due()) live_line::show(text(seconds));
  } else if (!told_ && seconds > kLong) {
    told_ = true;
    log::info(text(seconds));
  }
}

std::string Progress::text(double seconds) const {
  const auto amount = [this](int64_t count) {
    return unit_ == Unit::kBytes ? format_bytes(count) : format_count(count);
  };
  if (total_ <= 0) return fmt::format("{}  {}", what_, amount(done_));
  const double share = static_cast<double>(done_) / static_cast<double>(total_);
  std::string text = fmt::format("{}  {} of {}  {:.0f}%", what_, amount(done_),
                                 amount(total_), 100 * share);
  if (seconds > kSecondsToJudge && done_ > 0 && done_ < total_)
    text += fmt::format("  {} left", format_seconds(seconds / share - seconds));
  return text;
}

}  // namespace lowmem::metrics

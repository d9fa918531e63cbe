#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <string>
#include <vector>

#include "lowmem/core/live_line.h"
#include "lowmem/core/units.h"
#include "lowmem/metrics/sinks.h"

namespace lowmem::metrics {
namespace {

constexpr double kNewest = 0.1;  // weight of the newest value in a running mean

// Exponential, of the values so far.
class RunningMean {
 public:
  void add(double value) {
    value_ += kNewest * (value - value_);
    weight_ += kNewest * (1 - weight_);
  }
  double value() const { return value_ / weight_; }

 private:
  double value_ = 0, weight_ = 0;  // what began at 0 is too small by `weight_`
};

// The fullest form that fits into the terminal's columns: a long one, a short one, that
// without some of its parts; the last whether it fits or not.
std::string fullest(const std::vector<std::string>& forms) {
  const auto room = static_cast<size_t>(live_line::columns() - 1);
  for (const std::string& form : forms)
    if (form.size() <= room) return form;
  return forms.back();
}

// "3.10" of "3.10 GiB" where `other` is in GiB too.
std::string without_unit_of(const std::string& other, const std::string& amount) {
  const size_t unit = amount.find(' ');
  return other.ends_with(amount.substr(unit)) ? amount.substr(0, unit) : amount;
}

class LiveSink final : public Sink {
 public:
  LiveSink(int64_t total_steps, int64_t evaluation_every)
      : total_steps_(total_steps),
        evaluation_every_(evaluation_every),
        line_(fmt::format("step 0/{}", total_steps)) {}

  void step(const StepRecord&) override {}

  void evaluation(const EvaluationRecord& record) override {
    ++evaluations_;
    evaluation_seconds_ += record.seconds;
  }

  void moment(const Moment& now) override {
    ++steps_;
    step_seconds_ += now.seconds;
    if (std::isfinite(now.loss)) loss_.add(now.loss);
    if (now.seconds > 0) {
      tokens_.add(static_cast<double>(now.tokens));
      seconds_.add(now.seconds);
    }
    // The last is there while the run is evaluated and saved.
    if (live_line::due() || now.step == total_steps_) live_line::show(text(now));
  }

 private:
  double seconds_left(int64_t step) const {
    double left = static_cast<double>(total_steps_ - step) * step_seconds_ /
                  static_cast<double>(steps_);
    if (evaluations_ > 0) {
      int64_t to_come = 1;  // at the end
      if (evaluation_every_ > 0)
        to_come += std::max<int64_t>(
            0, (total_steps_ - 1) / evaluation_every_ - step / evaluation_every_);
      left += static_cast<double>(to_come) * evaluation_seconds_ /
              static_cast<double>(evaluations_);
    }
    return left;
  }

  std::string text(const Moment& now) const {
    const std::string step = fmt::format("{}/{}", now.step, total_steps_);
    const std::string epoch = fmt::format("  epoch {:.2f}", now.epoch);
    const std::string loss = fmt::format("  loss {:.4f}", loss_.value());
    const std::string speed = fmt::format(
        "  {} tokens/s", format_count(std::llround(tokens_.value() / seconds_.value())));
    const std::string memory = format_bytes(now.bytes);
    const std::string peak = format_bytes(now.peak_bytes);
    const std::string short_memory = "  " + without_unit_of(peak, memory) + "/" + peak;
    const std::string left = "  " + format_seconds(seconds_left(now.step)) + " left";
    return fullest({"step " + step + epoch + loss + speed + "  memory " + memory +
                        ", peak " + peak + left,
                    step + epoch + loss + speed + short_memory + left,
                    step + loss + speed + short_memory + left,
                    step + loss + short_memory + left});
  }

  int64_t total_steps_, evaluation_every_;
  int64_t steps_ = 0, evaluations_ = 0;  // seen
  double step_seconds_ = 0, evaluation_seconds_ = 0;
  RunningMean loss_, tokens_, seconds_;
  live_line::Scope line_;
};

}  // namespace

std::unique_ptr<Sink> live_sink(int64_t total_steps, int64_t evaluation_every) {
  return std::make_unique<LiveSink>(total_steps, evaluation_every);
}

}  // namespace lowmem::metrics

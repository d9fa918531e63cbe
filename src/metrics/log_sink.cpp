#include <spdlog/fmt/fmt.h>

#include "lowmem/core/log.h"
#include "lowmem/core/units.h"
#include "lowmem/metrics/sinks.h"

namespace lowmem::metrics {
namespace {

class LogSink final : public Sink {
 public:
  explicit LogSink(int64_t total_steps) : total_steps_(total_steps) {}

  void step(const StepRecord& r) override {
    log::info(
        fmt::format("step {:>6}/{}  epoch {:.2f}  loss {:.4f}  lr {:.2e}  {:.3f} s/step  "
                    "{} tokens/s  peak {}",
                    r.step, total_steps_, r.epoch, r.loss, r.lr, r.step_seconds,
                    format_count(static_cast<int64_t>(r.tokens_per_second)),
                    format_bytes(r.peak_bytes)));
  }

  void evaluation(const EvaluationRecord& r) override {
    std::string what, of;
    if (r.accuracy) {
      what += fmt::format("acc {:.2f}%  acc_norm {:.2f}%  ", 100 * r.accuracy->acc,
                          100 * r.accuracy->acc_norm);
      of += format_count(r.accuracy->count, "row") + ", ";
    }
    if (r.perplexity) {
      what += fmt::format("perplexity {:.3f}  loss {:.4f}  ", r.perplexity->perplexity,
                          r.perplexity->loss);
      of += format_count(r.perplexity->tokens, "token") + ", ";
    }
    log::info(fmt::format("evaluated after step {}: {}({}{})", r.step, what, of,
                          format_seconds(r.seconds)));
  }

 private:
  int64_t total_steps_;
};

}  // namespace

std::unique_ptr<Sink> log_sink(int64_t total_steps) {
  return std::make_unique<LogSink>(total_steps);
}

}  // namespace lowmem::metrics

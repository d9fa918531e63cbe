#include <nlohmann/json.hpp>

#include "lowmem/metrics/jsonl.h"
#include "lowmem/metrics/sinks.h"

namespace lowmem::metrics {
namespace {

class JsonlSink final : public Sink {
 public:
  explicit JsonlSink(const std::filesystem::path& path) : lines_(path) {}

  void step(const StepRecord& r) override {
    nlohmann::ordered_json line = {{"step", r.step},
                                   {"epoch", r.epoch},
                                   {"loss", r.loss},
                                   {"lr", r.lr},
                                   {"examples", r.examples},
                                   {"tokens", r.tokens},
                                   {"labelled_tokens", r.labelled_tokens}};
    if (r.grad_norm) line["grad_norm"] = *r.grad_norm;
    if (r.rounding_lost) line["rounding_lost"] = *r.rounding_lost;
    line["step_seconds"] = r.step_seconds;
    line["tokens_per_second"] = r.tokens_per_second;
    line["peak_bytes"] = r.peak_bytes;
    line["rss_bytes"] = r.rss_bytes;
    lines_.write(line);
  }
  void evaluation(const EvaluationRecord&) override {}

 private:
  JsonLines lines_;
};

}  // namespace

std::unique_ptr<Sink> jsonl_sink(const std::filesystem::path& path) {
  return std::make_unique<JsonlSink>(path);
}

}  // namespace lowmem::metrics

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "lowmem/metrics/jsonl.h"
#include "lowmem/metrics/sinks.h"

namespace lowmem::metrics {
namespace {

// Bytes of the lines of the steps up to `last_step`; ends at the first line that is cut
// short or is of a later step.
uintmax_t bytes_until(const std::filesystem::path& path, int64_t last_step) {
  std::ifstream in(path, std::ios::binary);
  uintmax_t bytes = 0;
  for (std::string line; std::getline(in, line) && !in.eof();) {
    const auto record = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!record.is_object() || !record.contains("step") ||
        !record["step"].is_number_integer() || record["step"] > last_step)
      break;
    bytes += line.size() + 1;
  }
  return bytes;
}

class JsonlSink final : public Sink {
 public:
  JsonlSink(const std::filesystem::path& path, int64_t last_step)
      : lines_(path, bytes_until(path, last_step)) {}

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

std::unique_ptr<Sink> jsonl_sink(const std::filesystem::path& path, int64_t last_step) {
  return std::make_unique<JsonlSink>(path, last_step);
}

}  // namespace lowmem::metrics

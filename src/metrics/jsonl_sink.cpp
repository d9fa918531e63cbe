#include <nlohmann/json.hpp>
#include <system_error>

#include "lowmem/core/log.h"
#include "lowmem/metrics/jsonl.h"
#include "lowmem/metrics/sinks.h"

namespace lowmem::metrics {
namespace {

uintmax_t bytes_to_keep(const std::filesystem::path& path, uintmax_t keep) {
  std::error_code code;
  const uintmax_t size = keep == 0 ? 0 : std::filesystem::file_size(path, code);
  if (!code && size >= keep) return keep;
  log::warn(path.string() + " is shorter than it was: lines are missing");
  return code ? 0 : size;
}

class JsonlSink final : public Sink {
 public:
  JsonlSink(const std::filesystem::path& path, uintmax_t keep)
      : lines_(path, bytes_to_keep(path, keep)) {}

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
    if (r.adapter_rank) line["adapter_rank"] = *r.adapter_rank;
    if (r.orthogonality) line["orthogonality"] = *r.orthogonality;
    if (r.moved) {
      line["read_bytes"] = r.moved->read_bytes;
      line["written_bytes"] = r.moved->written_bytes;
      line["waited_seconds"] = r.moved->waited_seconds;
    }
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

std::unique_ptr<Sink> jsonl_sink(const std::filesystem::path& path, uintmax_t keep) {
  return std::make_unique<JsonlSink>(path, keep);
}

}  // namespace lowmem::metrics

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <system_error>

#include "lowmem/core/error.h"
#include "lowmem/core/units.h"
#include "lowmem/metrics/sinks.h"
#include "metrics/event_file.h"

namespace lowmem::metrics {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "events.out.tfevents.";

double wall_time() {
  return std::chrono::duration<double>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// The seconds in a file's name; 0 for a name that has none.
int64_t seconds_of(std::string_view name) {
  name.remove_prefix(kPrefix.size());
  int64_t seconds = 0;
  std::from_chars(name.data(), name.data() + name.size(), seconds);
  return seconds;
}

// Ten digits of seconds since 1970 last until 2286, and sort as numbers do.
fs::path new_file(const fs::path& folder) {
  auto seconds = static_cast<int64_t>(wall_time());
  for (const auto& [name, bytes] : event_files(folder))
    seconds = std::max(seconds, seconds_of(name) + 1);
  return folder / (std::string(kPrefix) + std::to_string(seconds) + ".lowmem");
}

double gib(int64_t bytes) {
  return static_cast<double>(bytes) / static_cast<double>(kGiB);
}

void add(Scalars& scalars, std::string_view tag, double value) {
  const auto written = static_cast<float>(value);
  if (std::isfinite(written)) scalars.emplace_back(tag, written);
}

class TensorBoardSink final : public Sink {
 public:
  TensorBoardSink(const fs::path& folder, std::optional<int64_t> next_step)
      : file_(new_file(folder)) {
    file_.write(version_event(wall_time()));
    if (next_step) file_.write(restart_event(wall_time(), *next_step));
  }

  void step(const StepRecord& r) override {
    Scalars scalars;
    add(scalars, "Train/loss", r.loss);
    add(scalars, "Train/lr", r.lr);
    add(scalars, "Train/epoch", r.epoch);
    add(scalars, "Train/tokens_per_second", r.tokens_per_second);
    add(scalars, "Train/step_seconds", r.step_seconds);
    add(scalars, "Train/memoryGB", gib(r.peak_bytes));
    add(scalars, "Train/rssGB", gib(r.rss_bytes));
    if (r.grad_norm) add(scalars, "Train/grad_norm", *r.grad_norm);
    if (r.rounding_lost) add(scalars, "Train/rounding_lost", *r.rounding_lost);
    if (r.adapter_rank)
      add(scalars, "Train/adapter_rank", static_cast<double>(*r.adapter_rank));
    if (r.orthogonality) add(scalars, "Train/orthogonality", *r.orthogonality);
    file_.write(scalars_event(wall_time(), r.step, scalars));
  }

  void evaluation(const EvaluationRecord& r) override {
    Scalars scalars;
    if (r.accuracy) {
      add(scalars, "val/acc", r.accuracy->acc);
      add(scalars, "val/acc_norm", r.accuracy->acc_norm);
    }
    if (r.perplexity) {
      add(scalars, "val/perplexity", r.perplexity->perplexity);
      add(scalars, "val/loss", r.perplexity->loss);
    }
    file_.write(scalars_event(wall_time(), r.step, scalars));
  }

 private:
  EventFile file_;
};

}  // namespace

std::unique_ptr<Sink> tensorboard_sink(const fs::path& folder,
                                       std::optional<int64_t> next_step) {
  return std::make_unique<TensorBoardSink>(folder, next_step);
}

std::map<std::string, uintmax_t> event_files(const fs::path& folder) {
  std::map<std::string, uintmax_t> files;
  std::error_code code;
  for (fs::directory_iterator at(folder, code), end; !code && at != end;
       at.increment(code)) {
    const std::string name = at->path().filename().string();
    std::error_code none;  // a file that someone has just taken away
    const uintmax_t bytes = at->file_size(none);
    if (name.starts_with(kPrefix) && !none) files[name] = bytes;
  }
  return files;
}

void restore_event_files(const fs::path& folder,
                         const std::map<std::string, uintmax_t>& lengths) {
  for (const auto& [name, bytes] : event_files(folder)) {
    std::error_code code;
    const auto kept = lengths.find(name);
    if (kept == lengths.end())
      fs::remove(folder / name, code);
    else if (bytes > kept->second)
      fs::resize_file(folder / name, kept->second, code);
    if (code)
      throw Error((folder / name).string(), "cannot be written (" + code.message() + ")",
                  "Check the file's permissions");
  }
}

}  // namespace lowmem::metrics

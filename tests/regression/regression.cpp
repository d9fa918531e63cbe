// Trains the demo by each recipe and compares what comes out with what is recorded:
//
//   regression EXPECTED.json            checks; exits 1 with a table of what has moved
//   regression EXPECTED.json --record   writes what it finds there
//
// Accuracy and loss are held to the spread over seeds, peaks of memory to 1%. Speed is
// shown as a ratio to a loop of this program's, since machines differ, and holds nothing
// up.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/io/atomic_file.h"

namespace lowmem::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct Recipe {
  const char* name;
  const char* config;  // in configs/
  const char*
      overrides;  // chosen so that accuracy is on its way up where it is looked at
};
constexpr Recipe kRecipes[] = {
    {"baseline_adam", "demo_baseline_adam", "eval.every=50"},
    {"baseline_adafactor", "demo_baseline_adafactor", "eval.every=50"},
    {"lowmem", "demo_lowmem", "eval.every=50"},
    // Steps so small that rounding to nearest would lose most of each.
    {"lowmem_small_steps", "demo_lowmem",
     "optimizer.lr=1.0e-3 train.epochs=3 eval.every=300"},
};
constexpr int kRecordedSeeds = 6, kCheckedSeeds = 2;

constexpr double kDeviations = 3;  // of the recorded seeds' mean that are let pass
constexpr double kPeakTolerance = 0.01;

// Measures of one run: "accuracy", "final_loss", ..., "peak_bytes.total", ...
using Measures = std::map<std::string, double>;

bool is_peak(const std::string& measure) { return measure.starts_with("peak_bytes"); }

Measures measures_of(const nlohmann::json& results) {
  Measures measures;
  const auto& accuracy = results.at("accuracy");
  measures["accuracy.early"] = accuracy.at("epochs").at(0).at("acc");
  measures["accuracy.after"] = accuracy.at("after").at("acc");
  measures["final_loss"] = results.at("final_loss");
  for (const auto& [phase, bytes] : results.at("peak_bytes").items())
    measures["peak_bytes." + phase] = bytes;
  measures["examples_per_second"] = results.at("examples_per_second");
  return measures;
}

void run(const std::string& arguments) {
  const std::string command = std::string(LOWMEM_TRAIN) + " -q " + arguments;
  if (std::system(command.c_str()) != 0)  // NOLINT: one thread
    throw Error(command, "failed", "Run it by hand");
}

std::vector<Measures> runs_of(const Recipe& recipe, const fs::path& folder, int seeds) {
  std::vector<Measures> found;
  for (int seed = 1; seed <= seeds; ++seed) {
    const std::string name = std::string(recipe.name) + "-" + std::to_string(seed);
    run("--config " LOWMEM_CONFIGS "/" + std::string(recipe.config) + ".yaml " +
        recipe.overrides + " run.seed=" + std::to_string(seed) + " run.name=" + name +
        " run.dir=" + folder.string() +
        " run.tensorboard=false model.path=" + (folder / "demo/model").string() +
        " data.train=" + (folder / "demo/train.jsonl").string() +
        " eval.data=" + (folder / "demo/val.jsonl").string());
    found.push_back(measures_of(read_json(folder / name / "results.json")));
    fs::remove_all(folder / name);
  }
  return found;
}

struct Spread {
  double mean = 0, deviation = 0;
};
Spread spread_of(const std::vector<Measures>& runs, const std::string& measure) {
  Spread spread;
  const auto count = static_cast<double>(runs.size());
  for (const Measures& run : runs) spread.mean += run.at(measure) / count;
  for (const Measures& run : runs)
    spread.deviation += std::pow(run.at(measure) - spread.mean, 2) / (count - 1);
  spread.deviation = std::sqrt(spread.deviation);
  return spread;
}

// Multiplications and additions a second in a plain loop over floats: what one core of
// this machine does today.
double reference_speed() {
  constexpr size_t kSize = 4096;
  static std::array<float, kSize> x, y;
  x.fill(1.0F);
  y.fill(0.0F);
  const auto start = std::chrono::steady_clock::now();
  double seconds = 0, operations = 0;
  while (seconds < 0.3) {
    for (int pass = 0; pass < 1000; ++pass)
      for (size_t i = 0; i < kSize; ++i) y[i] = y[i] * 0.5F + x[i];
    operations += 2.0 * 1000 * kSize;
    seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  return y[7] > 0 ? operations / seconds : 0;
}

// How far the mean may be from the recorded one. One row of 400 makes a quarter percent.
double allowed(const std::string& measure, const Spread& recorded) {
  if (is_peak(measure)) return kPeakTolerance * recorded.mean;
  return kDeviations * recorded.deviation +
         (measure.starts_with("accuracy") ? 0.005 : 0.01 * recorded.mean);
}

struct Verdict {
  int moved = 0, compared = 0;
};

// oneDNN's bf16 products take workspaces that depend on the processor's instructions. The
// recorded peaks are those of AVX-512 with bf16, which a processor with AMX has too.
constexpr const char* kInstructions = "AVX512_CORE_BF16";
bool has_recorded_instructions() { return __builtin_cpu_supports("avx512bf16") > 0; }

bool comparable(const std::string& measure, const std::string& recipe) {
  return !is_peak(measure) || recipe.starts_with("baseline") ||
         has_recorded_instructions();
}

void compare(const std::string& recipe, const std::vector<Measures>& runs,
             const nlohmann::json& expected, double reference, Verdict& verdict) {
  for (const auto& [measure, unused] : runs.front()) {
    const double now = spread_of(runs, measure).mean;
    if (measure == "examples_per_second") {
      std::printf("%-20s %-22s %14.2f %14.2f   a billion reference operations\n",
                  recipe.c_str(), "examples", expected.at("speed").get<double>(),
                  now / reference * 1e9);
      continue;
    }
    if (!comparable(measure, recipe)) continue;
    const auto& known = expected.at(measure);
    const Spread recorded{known.at("mean"), known.at("deviation")};
    const double most = allowed(measure, recorded);
    const bool moved = std::abs(now - recorded.mean) > most;
    verdict.moved += moved;
    ++verdict.compared;
    if (moved || measure == "accuracy.after" || measure == "peak_bytes.total")
      std::printf("%-20s %-22s %14.4f %14.4f   +- %.4f%s\n", recipe.c_str(),
                  measure.c_str(), recorded.mean, now, most, moved ? "   MOVED" : "");
  }
}

ordered_json recorded(const std::vector<Measures>& runs, double reference) {
  ordered_json entry;
  // A batch of another seed's has another size: peaks are those of the seeds to check.
  const std::vector<Measures> checked(runs.begin(), runs.begin() + kCheckedSeeds);
  for (const auto& [measure, unused] : runs.front()) {
    const Spread spread = spread_of(is_peak(measure) ? checked : runs, measure);
    if (measure == "examples_per_second")
      entry["speed"] = spread.mean / reference * 1e9;
    else
      entry[measure] = {{"mean", spread.mean}, {"deviation", spread.deviation}};
  }
  return entry;
}

int check(const fs::path& expected, const fs::path& folder) {
  const nlohmann::json known = read_json(expected);
  Verdict verdict;
  std::printf("%-20s %-22s %14s %14s\n", "recipe", "measure", "recorded", "now");
  const double reference = reference_speed();
  for (const Recipe& recipe : kRecipes)
    compare(recipe.name, runs_of(recipe, folder, kCheckedSeeds), known.at(recipe.name),
            reference, verdict);
  if (!has_recorded_instructions())
    std::printf(
        "peaks in bf16 are not compared: this processor has other instructions\n");
  std::printf("%d of %d measures have moved\n", verdict.moved, verdict.compared);
  if (verdict.moved > 0)
    std::printf("where that is meant: scripts/accept_regression.sh\n");
  return verdict.moved > 0 ? 1 : 0;
}

void record(const fs::path& expected, const fs::path& folder) {
  if (!has_recorded_instructions())
    throw Error("this processor", "lacks AVX-512 with bf16, for which peaks are recorded",
                "Record on one that has it, AMD from Zen 4 or Intel from Cooper Lake on");
  ordered_json found;
  const double reference = reference_speed();
  for (const Recipe& recipe : kRecipes)
    found[recipe.name] = recorded(runs_of(recipe, folder, kRecordedSeeds), reference);
  write_file_atomically(expected, found.dump(2) + "\n");
  std::printf("recorded in %s\n", expected.c_str());
}

int main_of(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments.size() > 2 ||
      (arguments.size() == 2 && arguments[1] != "--record"))
    throw Error("the arguments", "are not EXPECTED.json [--record]", "Give these");
  // Threads that wait by spinning take the cores of whatever else runs.
  setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/0);
  setenv("ONEDNN_MAX_CPU_ISA", kInstructions, /*overwrite=*/1);
  const fs::path folder =
      fs::temp_directory_path() / ("lowmem-regression-" + std::to_string(getpid()));
  struct Removal {
    const fs::path& folder;
    ~Removal() { fs::remove_all(folder); }
  } removal{folder};
  run("demo " + (folder / "demo").string());
  if (arguments.size() == 1) return check(arguments[0], folder);
  record(arguments[0], folder);
  return 0;
}

}  // namespace
}  // namespace lowmem::test

int main(int argc, char** argv) {
  try {
    return lowmem::test::main_of({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}

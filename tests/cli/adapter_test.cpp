// Runs that train an adapter: what they leave, and how it goes on from there.
#include <gmock/gmock.h>

#include <cmath>

#include "cli/program.h"
#include "train/run_files.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

class AdapterRuns : public DemoProgram {
 protected:
  static std::string run(const std::string& name, const std::string& more = "") {
    return " -q model.path=" + at("model") + " data.train=" + at("train.jsonl") +
           " eval.data=" + at("val.jsonl") + " eval.limit=24 eval.every=4" +
           " run.dir=" + at("runs") + " run.name=" + name +
           " train.max_steps=8 train.log_every=2 train.batch_size=12" +
           " adapter.kind=lora adapter.targets=all-linear adapter.rank=4" +
           " optimizer.name=adamw optimizer.lr=0.01 " + more + " ";
  }
  static void trains(const std::string& name, const std::string& more = "") {
    const Outcome outcome = run_program(run(name, more));
    ASSERT_EQ(outcome.status, 0) << outcome.output;
  }
  static std::string evaluate(const std::string& more) {
    const Outcome outcome =
        run_program("evaluate -q eval.data=" + at("val.jsonl") +
                    " eval.limit=24 --rows " + at("rows.jsonl") + " " + more);
    EXPECT_EQ(outcome.status, 0) << outcome.output;
    return read_file(at("rows.jsonl"));
  }
  // The log-likelihoods of an evaluation's first row.
  static json first_row(const std::string& rows) {
    return json::parse(rows.substr(0, rows.find('\n')))["log_likelihoods"];
  }
};

TEST_F(AdapterRuns, LeaveAnAdapterAndNoModel) {
  trains("plain");
  EXPECT_TRUE(fs::exists(folder_of("plain") / "adapter/adapter_model.safetensors"));
  EXPECT_FALSE(fs::exists(folder_of("plain") / "model"));
  const json config = read_json(folder_of("plain") / "adapter/adapter_config.json");
  EXPECT_EQ(config["r"], 4);
  EXPECT_EQ(config["target_modules"], json({"down_proj", "gate_proj", "k_proj", "o_proj",
                                            "q_proj", "up_proj", "v_proj"}));
  EXPECT_THAT(read_file(folder_of("plain") / "adapter/README.md"),
              HasSubstr("library_name: peft"));
  EXPECT_TRUE(fs::exists(folder_of("plain") / "adapter/tokenizer.json"));
  // With the run's own settings, too, which say the same in other words.
  EXPECT_EQ(evaluate("--config " + (folder_of("plain") / "config.yaml").string() +
                     " adapter.path=" + (folder_of("plain") / "adapter").string()),
            read_file(folder_of("plain") / "evaluation-8.jsonl"));
  // It learned, and scores as it did in the run.
  const json results = read_json(folder_of("plain") / "results.json");
  const auto lines = train::raw_lines_of(folder_of("plain"));
  EXPECT_LT(lines.back()["loss"], lines.front()["loss"]);
  EXPECT_EQ(evaluate("model.path=" + at("model") +
                     " adapter.path=" + (folder_of("plain") / "adapter").string()),
            read_file(folder_of("plain") / "evaluation-8.jsonl"));
}

TEST_F(AdapterRuns, EndWithTheSameBitsWithEveryPolicy) {
  trains("one");
  for (const std::string more :
       {"memory.weights=disk memory.ahead=0",
        "memory.weights=disk memory.kept=disk memory.activations=keep memory.ahead=0",
        "memory.states=disk memory.gradients=accumulate",
        "memory.activations=1 memory.resident_blocks=1 memory.weights=disk"}) {
    trains("other", "run.overwrite=true " + more);
    train::expect_equal_runs(folder_of("one"), folder_of("other"));
  }
  // Nothing of a model that stays as it is goes back to the disk.
  trains("other", "run.overwrite=true memory.weights=disk");
  const auto lines = train::raw_lines_of(folder_of("other"));
  EXPECT_EQ(lines.back()["written_bytes"], 0);
  EXPECT_GT(lines.back()["read_bytes"], 0);
}

TEST_F(AdapterRuns, GoOnFromSmallCheckpointsExactly) {
  trains("whole", "train.save_every=3");
  trains("parts", "train.save_every=3");
  fs::remove(folder_of("parts") / "results.json");
  fs::remove_all(folder_of("parts") / "adapter");
  const auto newest = folder_of("parts") / "checkpoints/step-00000006";
  ASSERT_TRUE(fs::exists(newest / "weights.safetensors"));
  // The adapter and no more.
  EXPECT_LT(fs::file_size(newest / "weights.safetensors"),
            fs::file_size(fs::path(at("model")) / "model.safetensors") / 2);
  const Outcome outcome = run_program(run("parts", "train.save_every=3") + "--resume");
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  train::expect_equal_runs(folder_of("whole"), folder_of("parts"));
}

TEST_F(AdapterRuns, MergedIsTheModelWithItInside) {
  trains("merging", "adapter.merge=true model.dtype=fp32 model.compute_dtype=fp32");
  const auto adapter = (folder_of("merging") / "adapter").string();
  const Outcome merged = run_program("merge -q " + adapter + " --model " + at("model") +
                                     " --into " + at("merged"));
  ASSERT_EQ(merged.status, 0) << merged.output;
  EXPECT_EQ(read_file(at("merged/model.safetensors")),
            read_file(folder_of("merging") / "model/model.safetensors"));
  const std::string in_fp32 = " model.dtype=fp32 model.compute_dtype=fp32 ";
  const json inside = first_row(evaluate("model.path=" + at("merged") + in_fp32));
  const json beside = first_row(
      evaluate("model.path=" + at("model") + in_fp32 + "adapter.path=" + adapter));
  for (size_t i = 0; i < inside.size(); ++i)
    EXPECT_NEAR(inside[i].get<double>(), beside[i].get<double>(), 1e-3);

  for (const char* name : {"tokenizer.json", "README.md"})
    EXPECT_TRUE(fs::exists(folder_of("merging") / "model" / name)) << name;
  const Outcome again = run_program("merge -q " + adapter + " --model " + at("model") +
                                    " --into " + at("merged"));
  EXPECT_EQ(again.status, 1);
  EXPECT_THAT(again.output, HasSubstr("is not empty"));
}

// In the type that the codes were made in, whatever the files have.
TEST_F(AdapterRuns, MergedFromCodesIsWhatTheRunItselfMerges) {
  for (const std::string dtype : {"bf16", "fp32"}) {
    trains("coded",
           "run.overwrite=true adapter.merge=true model.quantize=nf4 model.dtype=" +
               dtype + " model.compute_dtype=" + dtype);
    const Outcome merged =
        run_program("merge -q " + (folder_of("coded") / "adapter").string() +
                    " --model " + at("model") + " --into " + at("coded-" + dtype));
    ASSERT_EQ(merged.status, 0) << merged.output;
    EXPECT_EQ(read_file(at("coded-" + dtype + "/model.safetensors")),
              read_file(folder_of("coded") / "model/model.safetensors"));
  }
  const Outcome limit =
      run_program("merge " + (folder_of("coded") / "adapter").string() + " --model " +
                  at("model") + " --limit 3 --into " + at("never"));
  EXPECT_EQ(limit.status, 1);
  EXPECT_THAT(limit.output, HasSubstr("--limit: is of the rows of --eval"));
  EXPECT_FALSE(fs::exists(at("never")));
}

// 30 / 31 * 31 is not 30 in binary numbers.
TEST_F(AdapterRuns, WithPatternsOfAnyNumbersAreRead) {
  trains("numbers",
         "adapter.rank=30 adapter.rank_pattern=[q_proj=31] adapter.alpha=49 "
         "adapter.alpha_pattern=[v_proj=1]");
  const json config = read_json(folder_of("numbers") / "adapter/adapter_config.json");
  EXPECT_EQ(config["rank_pattern"]["model.layers.0.self_attn.q_proj"], 31);
  EXPECT_EQ(config["alpha_pattern"]["model.layers.0.self_attn.v_proj"], 1);
  EXPECT_EQ(evaluate("model.path=" + at("model") +
                     " adapter.path=" + (folder_of("numbers") / "adapter").string()),
            read_file(folder_of("numbers") / "evaluation-8.jsonl"));
}

TEST_F(AdapterRuns, WithARuleThatHardlyMovesZerosAreWarnedOf) {
  const Outcome outcome = run_program(run("slow", "optimizer.name=adafactor"));
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.output, HasSubstr("begins with second matrices of zeros"));
}

TEST_F(AdapterRuns, BeginWithAnAdapterThatIsThere) {
  trains("first");
  const std::string path = (folder_of("first") / "adapter").string();
  const Outcome outcome = run_program(
      " -q model.path=" + at("model") + " data.train=" + at("train.jsonl") +
      " eval.data=" + at("val.jsonl") + " eval.limit=24 run.dir=" + at("runs") +
      " run.name=second train.max_steps=0 train.epochs=0 adapter.path=" + path);
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_EQ(read_file(folder_of("second") / "adapter/adapter_model.safetensors"),
            read_file(folder_of("first") / "adapter/adapter_model.safetensors"));
  // Its own settings are in the run's.
  EXPECT_THAT(read_file(folder_of("second") / "config.yaml"), HasSubstr("rank: 4"));
}

// Over codes, with something left out each step, or with magnitudes.
TEST_F(AdapterRuns, OverAQuantizedModelGoOnAndMoveLikeAnyOther) {
  for (const std::string variant :
       {"model.quantize=nf4 adapter.dropout=0.2 ",
        "model.quantize=nf4 adapter.init=loftq ",
        "model.quantize=int8 adapter.kind=dora adapter.lr_ratio=2 "}) {
    SCOPED_TRACE(variant);
    const std::string settings = "run.overwrite=true train.save_every=3 " + variant;
    trains("whole", settings);
    trains("parts", settings + "memory.weights=disk memory.activations=keep");
    train::expect_equal_runs(folder_of("whole"), folder_of("parts"));
    fs::remove(folder_of("parts") / "results.json");
    fs::remove_all(folder_of("parts") / "adapter");
    const Outcome outcome = run_program(run("parts", settings) + "--resume");
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    train::expect_equal_runs(folder_of("whole"), folder_of("parts"));
    // It scores as it did in the run beside the same codes, and not beside numbers.
    const std::string beside = "model.path=" + at("model") + " adapter.path=" +
                               (folder_of("whole") / "adapter").string() + " ";
    const std::string scores = read_file(folder_of("whole") / "evaluation-8.jsonl");
    const std::string quantize = variant.substr(0, variant.find(' '));
    EXPECT_EQ(evaluate(beside + quantize), scores);
    EXPECT_NE(evaluate(beside), scores);
  }
}

// Beginnings of a part of the model: what is resumed has that part taken again, and what
// is left is an adapter beside the model as it was.
TEST_F(AdapterRuns, ThatBeginWithAPartOfTheModelGoOnAndEndAsAnyOther) {
  const std::string in_fp32 = " model.dtype=fp32 model.compute_dtype=fp32 ";
  for (const std::string variant :
       {"adapter.init=pissa ", "adapter.init=olora adapter.kind=dora adapter.alpha=1 ",
        "adapter.init=pissa adapter.rank_stabilized=true "
        "adapter.rank_pattern=[v_proj=2] "}) {
    SCOPED_TRACE(variant);
    const std::string settings =
        "run.overwrite=true train.save_every=3 optimizer.lr=1e-3 " + variant + in_fp32;
    trains("whole", settings);
    trains("parts", settings + "memory.weights=disk memory.activations=keep");
    train::expect_equal_runs(folder_of("whole"), folder_of("parts"));
    fs::remove(folder_of("parts") / "results.json");
    fs::remove_all(folder_of("parts") / "adapter");
    const Outcome outcome = run_program(run("parts", settings) + "--resume");
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    train::expect_equal_runs(folder_of("whole"), folder_of("parts"));

    const json config = read_json(folder_of("whole") / "adapter/adapter_config.json");
    EXPECT_EQ(config["r"], 8);
    const json inside = first_row(read_file(folder_of("whole") / "evaluation-8.jsonl"));
    const json beside =
        first_row(evaluate("model.path=" + at("model") + in_fp32 +
                           "adapter.path=" + (folder_of("whole") / "adapter").string()));
    for (size_t i = 0; i < inside.size(); ++i)
      EXPECT_NEAR(inside[i].get<double>(), beside[i].get<double>(), 1e-3);

    // As the run's own settings have it, in other words.
    EXPECT_EQ(
        first_row(evaluate("--config " + (folder_of("whole") / "config.yaml").string() +
                           " adapter.path=" + (folder_of("whole") / "adapter").string())),
        first_row(evaluate("model.path=" + at("model") + in_fp32 +
                           "adapter.path=" + (folder_of("whole") / "adapter").string())));

    fs::remove(folder_of("parts") / "results.json");
    fs::remove(folder_of("parts") / "taken_from_base.safetensors");
    const Outcome lost = run_program(run("parts", settings) + "--resume");
    EXPECT_EQ(lost.status, 1);
    EXPECT_THAT(lost.output, HasSubstr("taken_from_base.safetensors"));
  }
}

// The best evaluation's pair goes back beside the model as the run has it.
TEST_F(AdapterRuns, ThatBeginWithAPartOfTheModelLeaveTheBestOfThem) {
  const std::string in_fp32 = " model.dtype=fp32 model.compute_dtype=fp32 ";
  trains("best", "adapter.init=pissa train.keep_best=true optimizer.lr=0.3 eval.every=1" +
                     in_fp32);
  const json results = read_json(folder_of("best") / "results.json");
  const int64_t step = results["exported_step"];
  EXPECT_LT(step, 8);
  const json then = first_row(
      read_file(folder_of("best") / ("evaluation-" + std::to_string(step) + ".jsonl")));
  const json now =
      first_row(evaluate("model.path=" + at("model") + in_fp32 +
                         "adapter.path=" + (folder_of("best") / "adapter").string()));
  for (size_t i = 0; i < then.size(); ++i)
    EXPECT_NEAR(then[i].get<double>(), now[i].get<double>(), 1e-3);
}

// A folder in codes trains as one that is quantized while it is loaded, and merging is
// into what was trained beside, or into the model as it was.
TEST_F(AdapterRuns, BesideAFolderInCodesAreThoseBesideTheModelQuantized) {
  const std::string in_fp32 = " model.dtype=fp32 model.compute_dtype=fp32 ";
  for (const std::string form : {"nf4", "int8"}) {
    SCOPED_TRACE(form);
    const std::string settings = "run.overwrite=true model.quantize=" + form + in_fp32;
    trains("loading", settings);
    const Outcome quantized = run_program("quantize -q " + at("model") + " --as " + form +
                                          " --into " + at(form));
    ASSERT_EQ(quantized.status, 0) << quantized.output;
    trains("folder", settings + "model.path=" + at(form));
    EXPECT_EQ(read_file(folder_of("folder") / "adapter/adapter_model.safetensors"),
              read_file(folder_of("loading") / "adapter/adapter_model.safetensors"));

    const std::string adapter = (folder_of("loading") / "adapter").string();
    const auto merge = [&](const std::string& into, const std::string& more) {
      const Outcome outcome =
          run_program("merge -q " + adapter + " --into " + at(into) + " --eval " +
                      at("val.jsonl") + " --limit 24 " + more);
      EXPECT_EQ(outcome.status, 0) << outcome.output;
      return std::abs(
          std::stod(outcome.output.substr(outcome.output.find("difference ") + 11)));
    };
    const std::string model = "--model " + at("model") + " ";
    EXPECT_LT(merge(form + "-merged", model), 1e-3);
    EXPECT_LT(merge(form + "-of-codes", "--model " + at(form) + " "), 1e-3);
    EXPECT_EQ(read_file(at(form + "-merged/model.safetensors")),
              read_file(at(form + "-of-codes/model.safetensors")));
    const double other = merge(form + "-original", model + "--original ");
    EXPECT_GT(other, 1e-3);

    const Outcome beside = run_program("evaluate eval.data=" + at("val.jsonl") +
                                       " eval.limit=4 model.path=" + at("model") +
                                       " adapter.path=" + adapter);
    EXPECT_THAT(beside.output, HasSubstr("was trained with model.quantize = " + form));
    // By itself, too.
    EXPECT_FALSE(evaluate("model.path=" + at(form) + " model.quantize=" + form).empty());
    const Outcome plain = run_program("evaluate -q eval.data=" + at("val.jsonl") +
                                      " model.path=" + at(form));
    EXPECT_EQ(plain.status, 1);
    EXPECT_THAT(plain.output, HasSubstr("Set model.quantize = " + form));
  }
}

}  // namespace
}  // namespace lowmem::test

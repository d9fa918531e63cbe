// `plan` against what the same run then takes, and what follows from it.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "cli/planned.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// The demo's model with room for long texts, and such texts.
class LongRows : public Plan {
 protected:
  static std::string settings(const std::string& more) {
    return settings_of("far", json::object(), more);
  }
  // Of a model named `name`, with `shape` in its config.json.
  static std::string settings_of(const std::string& name, json shape,
                                 const std::string& more) {
    const auto model = folder() / name;
    if (!exists(model)) {
      shape["max_position_embeddings"] = 2048;
      write_shape(folder() / (name + ".json"), shape);
      const Outcome made =
          run_program("init " + at(name + ".json") + " " + model.string());
      EXPECT_EQ(made.status, 0) << made.output;
      for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
        std::filesystem::copy_file(folder() / "model" / file, model / file,
                                   std::filesystem::copy_options::skip_existing);
      std::ofstream rows(at("long.jsonl"));
      for (int i = 0; i < 4; ++i) {
        std::string text;
        for (int k = 0; k < 200 + 40 * i; ++k) text += " the man bakes the dough";
        rows << json{{"text", text}}.dump() << "\n";
      }
    }
    return Plan::settings("model.path=" + model.string() + " data.train=" +
                          at("long.jsonl") + " data.max_length=1800 train.batch_size=2 " +
                          "train.epochs=2 data.long=truncate " + more);
  }
};

TEST_F(LongRows, PeakAsPlannedUnderLibTorchsAttention) {
  for (const std::string more :
       {"model.dtype=bf16", "model.dtype=bf16 memory.activations=keep",
        "model.dtype=fp32 model.compute_dtype=fp32 optimizer.name=adam",
        "model.dtype=bf16 memory.attention=math",
        "model.dtype=bf16 model.attention_span=shifted model.span_group=1024",
        "model.dtype=bf16 model.attention_span=shifted model.span_group=300 "
        "memory.activations=keep",
        "model.dtype=fp32 model.compute_dtype=fp32 memory.attention=math "
        "memory.activations=keep memory.gradients=accumulate"}) {
    const Outcome planned = run_program("plan --json -q" + settings(more));
    ASSERT_EQ(planned.status, 0) << planned.output;
    const json plan = json::parse(planned.output);
    const Outcome run = run_program("-q" + settings(more));
    ASSERT_EQ(run.status, 0) << run.output;
    const json measured = results("run")["peak_bytes"];
    for (const char* phase : {"total", "backward", "update", "save"})
      EXPECT_NEAR(plan["peak_bytes"][phase].get<double>(), measured[phase].get<double>(),
                  0.02 * measured[phase].get<double>())
          << phase << " of " << more;
  }
}

TEST_F(LongRows, PeakAsPlannedForEachFamily) {
  const auto of = [](const char* type, const char* architecture, json more) {
    more["model_type"] = type;
    more["architectures"] = {architecture};
    return more;
  };
  for (const json& shape :
       {of("mistral", "MistralForCausalLM", {{"sliding_window", 256}}),
        of("qwen2", "Qwen2ForCausalLM",
           {{"use_sliding_window", true},
            {"sliding_window", 100},
            {"max_window_layers", 1}}),
        of("qwen3", "Qwen3ForCausalLM", {{"head_dim", 32}}),
        of("granite", "GraniteForCausalLM",
           {{"embedding_multiplier", 12.0},
            {"attention_multiplier", 0.1},
            {"residual_multiplier", 0.2},
            {"logits_scaling", 6.0}}),
        of("smollm3", "SmolLM3ForCausalLM", {{"no_rope_layer_interval", 2}}),
        of("phi3", "Phi3ForCausalLM", {{"sliding_window", 700}}),
        // The numbers of a head that real models have.
        of("llama", "LlamaForCausalLM", {{"head_dim", 64}})})
    for (const std::string more :
         {"model.dtype=bf16",
          "model.dtype=bf16 data.max_length=300 memory.activations=keep",
          "model.dtype=fp32 model.compute_dtype=fp32 optimizer.name=adam model.train=all "
          "memory.gradients=accumulate"}) {
      const std::string with = settings_of(shape["model_type"], shape, more);
      const Outcome planned = run_program("plan --json -q" + with);
      ASSERT_EQ(planned.status, 0) << planned.output;
      const json plan = json::parse(planned.output);
      const Outcome run = run_program("-q" + with);
      ASSERT_EQ(run.status, 0) << run.output;
      const json measured = results("run")["peak_bytes"];
      for (const char* phase : {"total", "backward", "update", "save"})
        EXPECT_NEAR(plan["peak_bytes"][phase].get<double>(),
                    measured[phase].get<double>(), 0.02 * measured[phase].get<double>())
            << phase << " of " << shape["model_type"] << " with " << more;
    }
}

// What is named for each way is what a plan of its settings says.
TEST_F(Plan, NamesWhatEachMethodWouldNeed) {
  for (const char* more :
       {"", "model.train=all", "optimizer.name=adamw optimizer.rounding=kahan",
        "adapter.kind=lora adapter.init=pissa adapter.targets=all-linear adapter.rank=4",
        "adapter.kind=lora adapter.init=loftq model.quantize=nf4 optimizer.name=sgd "
        "adapter.loftq_iterations=3",
        "adapter.kind=adalora adapter.tfinal=1"}) {
    const Outcome all =
        run_program("plan --methods --json -q" +
                    Plan::settings(std::string("model.dtype=bf16 ") + more));
    ASSERT_EQ(all.status, 0) << more << all.output;
    for (const json& method : json::parse(all.output))
      EXPECT_FALSE(method.contains("refused")) << more << method.dump();
  }
  const std::string settings = Plan::settings("model.dtype=bf16");
  const Outcome named = run_program("plan --methods --json -q" + settings);
  ASSERT_EQ(named.status, 0) << named.output;
  const json methods = json::parse(named.output);
  const Outcome text = run_program("plan --methods -q" + settings);
  ASSERT_EQ(methods.size(), 8u);
  for (const json& method : methods) {
    ASSERT_FALSE(method.contains("refused")) << method.dump();
    // As the line to paste has them.
    const std::string name = "\n  " + method["name"].get<std::string>() + ":";
    const size_t begin = text.output.find(name) + name.size();
    ASSERT_GE(begin, name.size()) << text.output;
    std::string overrides =
        text.output.substr(begin, text.output.find('\n', begin) - begin);
    if (overrides == " as it is") overrides.clear();
    const Outcome planned = run_program("plan --json -q" + settings + overrides);
    ASSERT_EQ(planned.status, 0) << planned.output;
    const json plan = json::parse(planned.output);
    for (const char* key : {"peak_bytes", "disk_bytes", "step_read_bytes"})
      EXPECT_EQ(method["plan"][key], plan[key]) << method["name"] << " " << key;
    EXPECT_GT(method["trained_parameters"], 0);
  }
  // LoRA, and the same over nf4.
  EXPECT_LT(methods[6]["plan"]["peak_bytes"]["total"],
            methods[2]["plan"]["peak_bytes"]["total"]);
  const Outcome both = run_program("plan --methods --fit 1GiB" + settings);
  EXPECT_NE(both.status, 0);
}

// Rows of many tokens and one label, and of few tokens that all are labels.
TEST_F(Plan, KnowsBatchesOfFewTokensAndManyLabels) {
  std::ofstream rows(at("labels.jsonl"));
  const auto words = [](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += " dough";
    return text;
  };
  for (int i = 0; i < 24; ++i) {
    const bool prompt = i / 8 % 2 == 0;
    rows << json{{"prompt", words(prompt ? 100 : 1)},
                 {"completion", words(prompt ? 1 : 90)}}
                .dump()
         << "\n";
  }
  rows.close();
  for (const std::string more :
       {"train.batch_size=8 train.micro_batch_size=2 data.shuffle=false",
        "train.batch_size=8 train.micro_batch_size=2 memory.gradients=accumulate",
        "train.batch_size=8 train.micro_batch_size=1 eval.batch_size=8 "
        "eval.data=labels"}) {
    std::string with = "data.train=" + at("labels.jsonl") + " " + more;
    if (const size_t name = with.find("=labels"); name != std::string::npos)
      with.replace(name + 1, 6, at("labels.jsonl"));
    const json plan = plan_of(with);
    const Outcome run = run_program("-q" + settings(with));
    ASSERT_EQ(run.status, 0) << run.output;
    const json measured = results("run")["peak_bytes"];
    for (const char* phase : {"total", "evaluate", "backward"})
      EXPECT_NEAR(plan["peak_bytes"][phase].get<double>(), measured[phase].get<double>(),
                  0.02 * measured[phase].get<double>())
          << phase << " of " << more;
  }
}

TEST_F(Plan, OfAResumedRunIsOfWhatIsLeft) {
  const std::string run = settings(
      "train.max_steps=6 train.save_every=3 optimizer.schedule=constant "
      "eval.data=[] ");
  ASSERT_EQ(run_program(run).status, 0);
  std::filesystem::remove(folder_of("run") / "results.json");
  const std::string longer = run + " run.overwrite=false train.max_steps=10 --resume";
  const Outcome resumed = run_program(longer);
  ASSERT_EQ(resumed.status, 0) << resumed.output;
  EXPECT_THAT(resumed.output, HasSubstr("plan: 4 steps over 32 rows"));
  EXPECT_THAT(resumed.output, HasSubstr("for 10 steps, 4 of them to go"));
  // What lies there after loading is the weights alone, as in a run from the start.
  EXPECT_EQ(results("run")["peak_bytes"]["load"], plan_of("")["items"]["weights"]);
}

// Precisions x activations x gradients x optimizers x homes.
std::vector<std::string> every_combination() {
  std::vector<std::string> all;
  for (const char* type : {"model.dtype=bf16", "model.dtype=fp32",
                           "model.dtype=fp32 model.compute_dtype=fp32"})
    for (const char* activations : {"keep", "recompute"})
      for (const char* gradients : {"accumulate", "update"})
        for (const char* optimizer : {"adafactor", "adam"})
          for (const char* home : {"", " memory.weights=disk"})
            all.push_back(std::string(type) + " memory.activations=" + activations +
                          " memory.gradients=" + gradients +
                          " optimizer.name=" + optimizer + home);
  return all;
}

const std::vector<std::string> kOthers = {
    "optimizer.name=sgd",
    "optimizer.name=sgd optimizer.momentum=0.9 memory.gradients=accumulate",
    "optimizer.name=adamw optimizer.state_dtype=bf16",
    "optimizer.name=adamw optimizer.state_dtype=int8",
    "optimizer.name=adam optimizer.state_dtype=int8 memory.activations=1 model.train=all",
    "memory.activations=1",
    "memory.activations=1 memory.gradients=accumulate train.micro_batch_size=3",
    "optimizer.rounding=kahan",
    "optimizer.clip_norm=1 optimizer.clip_mode=two_pass",
    "optimizer.clip_norm=1 memory.gradients=accumulate",
    "model.train=all",
    "model.train=all model.dtype=fp32 memory.linear_cross_entropy=false "
    "memory.gradients=accumulate",
    "model.train=model.layers.1.*",
    "model.train=*.mlp.*,model.norm.weight",
    "train.micro_batch_size=3",
    "train.micro_batch_size=2 memory.activations=keep memory.gradients=accumulate",
    "train.micro_batch_size=2 model.dtype=fp32 memory.activations=keep",
    "train.batch_size=31 data.max_length=48",
    "memory.weights=disk memory.ahead=0 memory.activations=1",
    "memory.weights=disk memory.resident_blocks=1 memory.gradients=accumulate "
    "train.micro_batch_size=3",
    "memory.weights=disk model.train=all optimizer.name=adamw "
    "optimizer.state_dtype=int8",
    "memory.weights=disk optimizer.clip_norm=1 optimizer.clip_mode=two_pass",
    "memory.weights=disk model.train=model.layers.1.* optimizer.rounding=kahan",
    "memory.weights=disk model.train=*.mlp.* train.micro_batch_size=2",
    "memory.weights=disk memory.linear_cross_entropy=false",
    "memory.kept=disk memory.ahead=0 memory.activations=keep",
    "memory.kept=disk memory.ahead=0 memory.activations=keep memory.gradients=accumulate "
    "train.micro_batch_size=16 train.batch_size=32 model.dtype=fp32",
    "memory.kept=disk memory.ahead=0 memory.weights=disk train.micro_batch_size=11 "
    "train.batch_size=32 "
    "memory.activations=keep",
    "memory.kept=disk memory.ahead=0 model.train=all optimizer.name=adam",
    "adapter.kind=lora optimizer.name=adamw",
    "adapter.kind=dora adapter.targets=all-linear adapter.dropout=0.1 "
    "optimizer.name=adamw",
    "adapter.kind=adalora adapter.targets=all-linear adapter.rank=12 "
    "optimizer.name=adamw",
    "adapter.kind=adalora adapter.targets=all-linear adapter.rank=12 "
    "memory.gradients=accumulate memory.activations=keep optimizer.name=adamw",
    "adapter.kind=lora adapter.targets=all-linear adapter.rank=16 optimizer.name=adamw "
    "memory.activations=keep memory.gradients=accumulate train.micro_batch_size=3",
    "adapter.kind=lora adapter.targets=all-linear memory.weights=disk memory.ahead=0 "
    "adapter.also_train=norm",
    "adapter.kind=lora adapter.targets=all-linear optimizer.name=adamw model.dtype=fp32 "
    "model.compute_dtype=fp32 adapter.merge=true",
};

class PlanOf : public Plan, public testing::WithParamInterface<std::string> {};

TEST_P(PlanOf, TellsEachPhasesPeakWithinTwoPercent) {
  // Evaluation beside half of them: it would hide training's peak where it is higher.
  const bool evaluates = std::hash<std::string>()(GetParam()) % 2 == 0;
  const std::string more =
      GetParam() + (evaluates ? " eval.data=" + at("val.jsonl") : "");
  const json plan = plan_of(more);
  const Outcome run = run_program("-q" + settings(more));
  ASSERT_EQ(run.status, 0) << run.output;
  const json measured = results("run")["peak_bytes"];
  for (const auto& [phase, bytes] : measured.items())
    EXPECT_NEAR(plan["peak_bytes"][phase].get<double>(), bytes.get<double>(),
                0.02 * bytes.get<double>())
        << phase;
  int64_t items = 0;
  for (const auto& [item, bytes] : plan["items"].items()) items += bytes.get<int64_t>();
  EXPECT_EQ(items, plan["peak_bytes"]["total"].get<int64_t>());
}
INSTANTIATE_TEST_SUITE_P(Combinations, PlanOf, testing::ValuesIn(every_combination()),
                         [](const auto& tested) { return std::to_string(tested.index); });
INSTANTIATE_TEST_SUITE_P(Others, PlanOf, testing::ValuesIn(kOthers),
                         [](const auto& tested) { return std::to_string(tested.index); });

TEST_F(Plan, ReadsNoWeights) {
  const auto copy = folder() / "without";
  std::filesystem::copy(folder() / "model", copy,
                        std::filesystem::copy_options::recursive);
  std::filesystem::remove(copy / "model.safetensors");
  const json plan = plan_of("model.path=" + copy.string());
  EXPECT_EQ(plan["peak_bytes"], plan_of("")["peak_bytes"]);
}

TEST_F(Plan, CountsStepsAndRows) {
  const json plan = plan_of(
      "train.max_steps=0 train.epochs=2 train.batch_size=7 "
      "data.limit=50 eval.data=" +
      at("val.jsonl"));
  EXPECT_EQ(plan["steps"], 16);
  EXPECT_EQ(plan["examples"], 100);
  EXPECT_EQ(plan["evaluations"], 3);
}

TEST_F(Plan, OfAnEndlessRunDoesNotWalkThroughIt) {
  const json plan = plan_of("train.max_steps=0 train.epochs=1000000000 data.limit=50");
  EXPECT_EQ(plan["examples"], 50'000'000'000);
  const json epoch = plan_of("train.max_steps=0 train.epochs=1 data.limit=50");
  EXPECT_NEAR(plan["tokens"].get<double>(), 1e9 * epoch["tokens"].get<double>(),
              1e-6 * plan["tokens"].get<double>());
  EXPECT_EQ(plan["peak_bytes"]["save"], epoch["peak_bytes"]["save"]);
}

TEST_F(Plan, OfAHugeModelTakesLittleMemory) {
  const Outcome plan =
      run_program("plan --json -q" + settings("model.path=" + huge_model().string()));
  ASSERT_EQ(plan.status, 0) << plan.output;
  const double gib =
      json::parse(plan.output)["items"]["weights"].get<double>() / (1 << 30);
  EXPECT_NEAR(gib, 131.4, 3);
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);  // the largest of all programs so far
  EXPECT_LT(usage.ru_maxrss, 1 << 20) << "KiB";
}

// Weights of 256 GiB that take no room on the disk: nothing but the header is written.
std::string sparse_model(const std::filesystem::path& demo,
                         const std::filesystem::path& to) {
  std::filesystem::copy(demo, to, std::filesystem::copy_options::recursive);
  json config = read_json(to / "config.json");
  constexpr int64_t kVocabulary = 1 << 30, kBytes = 2;
  config["vocab_size"] = kVocabulary;
  write_file_atomically(to / "config.json", config.dump());
  // The demo's header, with a larger table at the end.
  std::ifstream file(to / "model.safetensors", std::ios::binary);
  uint64_t length = 0;
  file.read(reinterpret_cast<char*>(&length), sizeof length);
  std::string text(length, ' ');
  file.read(text.data(), static_cast<std::streamsize>(length));
  json header = json::parse(text);
  int64_t end = 0;
  for (auto& [name, tensor] : header.items()) {
    if (name == "__metadata__") continue;
    if (name == "model.embed_tokens.weight" || name == "lm_head.weight") {
      tensor["dtype"] = "BF16";
      tensor["shape"][0] = kVocabulary;
    }
    int64_t bytes = tensor["dtype"] == "F32" ? 4 : kBytes;
    for (const auto& size : tensor["shape"]) bytes *= size.get<int64_t>();
    tensor["data_offsets"] = {end, end + bytes};
    end += bytes;
  }
  text = header.dump();
  length = text.size();
  std::ofstream out(to / "model.safetensors", std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out << text << std::flush;
  std::filesystem::resize_file(to / "model.safetensors",
                               sizeof length + length + static_cast<uintmax_t>(end));
  return to.string();
}

TEST_F(Plan, RefusesARunThatDoesNotFit) {
  const std::string huge =
      " model.path=" + sparse_model(folder() / "model", folder() / "sparse");
  const Outcome refused = run_program(settings(huge));
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output, HasSubstr("error: memory: would be exhausted"));
  EXPECT_THAT(refused.output, HasSubstr("memory.force=true"));
  const Outcome forced = run_program(settings(huge) + " memory.force=true");
  EXPECT_EQ(forced.status, 1);
  EXPECT_THAT(forced.output, HasSubstr("which do not fit"));
}

TEST_F(Plan, PrintsATable) {
  const Outcome plan = run_program("plan" + settings(""));
  ASSERT_EQ(plan.status, 0) << plan.output;
  for (const char* word : {"plan: 4 steps over 32 rows", "weights", "optimizer state",
                           "peak", "by phase", "save", "free"})
    EXPECT_THAT(plan.output, HasSubstr(word));
}

// Parts of a batch are counted by the rows that there are.
TEST_F(Plan, SecondsAreThoseOfTheRows) {
  const std::string rows = "data.limit=16 train.epochs=400 train.micro_batch_size=8 ";
  const auto seconds = [&](const char* batch_size) {
    return plan_of(rows + "train.batch_size=" + batch_size)["seconds"].get<double>();
  };
  EXPECT_LT(seconds("1600"), 2 * seconds("16"));
}

}  // namespace
}  // namespace lowmem::test

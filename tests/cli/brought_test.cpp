// What people bring, files and machines alike: nothing of it is dropped, guessed or wrong
// without a word.
#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "cli/program.h"
#include "lowmem/io/safetensors.h"
#include "lowmem/io/safetensors_writer.h"
#include "train/run_files.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr, testing::Not;
namespace fs = std::filesystem;

class Brought : public DemoProgram {
 protected:
  // The demo's model under another name, its config.json changed.
  static std::string model(const std::string& name, const json& config = {}) {
    const fs::path copy = folder() / name;
    fs::copy(folder() / "model", copy,
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    json all = read_json(copy / "config.json");
    for (const auto& [key, value] : config.items()) all[key] = value;
    write_file_atomically(copy / "config.json", all.dump());
    return copy.string();
  }

  struct Tensor {
    TensorSpec spec;
    std::vector<std::byte> bytes;
  };
  static std::vector<Tensor> tensors_of(const fs::path& model) {
    const SafetensorsFile file(model / "model.safetensors");
    std::vector<Tensor> all;
    for (const TensorInfo& info : file.tensors()) {
      all.push_back({{info.name, info.dtype, info.shape},
                     std::vector<std::byte>(static_cast<size_t>(info.bytes()))});
      file.read(info, 0, all.back().bytes);
    }
    return all;
  }
  static void write_tensors(const std::string& model, const std::vector<Tensor>& all) {
    std::vector<TensorSpec> specs;
    for (const Tensor& tensor : all) specs.push_back(tensor.spec);
    SafetensorsWriter writer(fs::path(model) / "model.safetensors", specs);
    for (const Tensor& tensor : all) writer.write(tensor.spec.name, tensor.bytes);
    writer.finish();
  }

  static std::string rows(const std::string& name, const std::string& lines) {
    write_file_atomically(folder() / name, lines);
    return at(name);
  }
  static Outcome evaluate(const std::string& model, const std::string& environment = "",
                          const std::string& more = "") {
    return run_command(
        environment + " " + LOWMEM_TRAIN + " evaluate -q --model " + model +
        with_last_values(" eval.data=" + at("val.jsonl") + " eval.limit=40 " + more));
  }
};

TEST_F(Brought, FewerThreadsThanAskedForComputeTheSame) {
  const std::string truth = evaluate(at("model"), "OMP_NUM_THREADS=1").output;
  for (const char* environment : {"OMP_NUM_THREADS=2 OMP_DYNAMIC=true",
                                  "OMP_NUM_THREADS=2 OMP_MAX_ACTIVE_LEVELS=0"})
    EXPECT_EQ(evaluate(at("model"), environment).output, truth) << environment;
  const Outcome limited = evaluate(at("model"), "OMP_NUM_THREADS=2 OMP_THREAD_LIMIT=1");
  EXPECT_THAT(limited.output, HasSubstr("OpenMP gives 1 of 2 threads"));
  EXPECT_THAT(limited.output, HasSubstr(truth));
}

TEST_F(Brought, WeightsThatAreNotFiniteAreRefusedByName) {
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  for (const float value : {NAN, INFINITY, -INFINITY}) {
    const std::string broken = model("broken");
    auto all = tensors_of(broken);
    for (Tensor& tensor : all)
      if (tensor.spec.name == name) {
        ASSERT_EQ(tensor.spec.dtype, DType::kF32);
        std::memcpy(tensor.bytes.data() + 20, &value, sizeof value);
      }
    write_tensors(broken, all);
    for (const Outcome& outcome :
         {evaluate(broken), run_program(quick("broken") + "model.path=" + broken)}) {
      EXPECT_EQ(outcome.status, 1);
      EXPECT_THAT(outcome.output, HasSubstr(name));
      EXPECT_THAT(outcome.output, HasSubstr("not finite"));
    }
  }
}

TEST_F(Brought, ATiedHeadThatIsAnotherMatrixIsRefused) {
  const bool tied =
      read_json(at("model/config.json")).value("tie_word_embeddings", false);
  const std::string two = model("two", {{"tie_word_embeddings", true}});
  auto all = tensors_of(two);
  Tensor head;
  std::erase_if(
      all, [](const Tensor& tensor) { return tensor.spec.name == "lm_head.weight"; });
  for (const Tensor& tensor : all)
    if (tensor.spec.name == "model.embed_tokens.weight") head = tensor;
  head.spec.name = "lm_head.weight";
  all.push_back(head);
  write_tensors(two, all);
  EXPECT_EQ(evaluate(two).status, 0) << "an equal copy, tied: " << tied;
  all.back().bytes[0] ^= std::byte{1};
  write_tensors(two, all);
  const Outcome refused = evaluate(two);
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output, HasSubstr("lm_head.weight"));
  EXPECT_THAT(refused.output, HasSubstr("tie_word_embeddings"));
}

TEST_F(Brought, ATrainedWeightOfZerosIsWarnedOfUnderAdafactor) {
  const std::string zeros = model("zeros");
  auto all = tensors_of(zeros);
  for (Tensor& tensor : all)
    if (tensor.spec.name == "model.layers.0.self_attn.o_proj.weight")
      std::fill(tensor.bytes.begin(), tensor.bytes.end(), std::byte{0});
  write_tensors(zeros, all);
  const std::string run = quick("zeros") + "run.overwrite=true model.path=" + zeros;
  const Outcome warned = run_program(run + " optimizer.name=adafactor");
  EXPECT_EQ(warned.status, 0);
  EXPECT_THAT(warned.output,
              HasSubstr("warning: model.layers.0.self_attn.o_proj.weight"));
  EXPECT_THAT(warned.output, HasSubstr("will move slowly"));
  const auto is_zero = [&] {
    for (const Tensor& tensor : tensors_of(folder_of("zeros") / "model"))
      if (tensor.spec.name == "model.layers.0.self_attn.o_proj.weight")
        return std::all_of(tensor.bytes.begin(), tensor.bytes.end(),
                           [](std::byte byte) { return byte == std::byte{0}; });
    return false;
  };
  EXPECT_FALSE(is_zero());
  const Outcome still =
      run_program(run + " optimizer.name=adafactor optimizer.scale_floor=0");
  EXPECT_THAT(still.output, HasSubstr("will not move"));
  EXPECT_TRUE(is_zero());
  EXPECT_THAT(run_program(run).output, Not(HasSubstr("zeros alone")));
}

TEST_F(Brought, TokensThatWereNeverTrainedAreNamed) {
  const std::string base = model("base");
  const json vocabulary = read_json(fs::path(base) / "tokenizer.json")["model"]["vocab"];
  std::ifstream in(at("train.jsonl"));
  std::string line;
  std::getline(in, line);
  // A word of the first row.
  std::string word;
  size_t id = 0;
  for (const auto& [piece, number] : vocabulary.items())
    if (piece.size() > 3 && line.find(piece.substr(piece.size() - 3)) != line.npos &&
        piece.size() > word.size()) {
      word = piece;
      id = number.get<size_t>();
    }
  // Zeros, and what Llama 3 has for some; a tenth of what was learned is learned still.
  const auto scale = [&](float by) {
    auto all = tensors_of(model("base"));
    for (Tensor& tensor : all)
      if (tensor.spec.name == "model.embed_tokens.weight") {
        ASSERT_EQ(tensor.spec.dtype, DType::kF32);
        const size_t row =
            tensor.bytes.size() / static_cast<size_t>(tensor.spec.shape[0]);
        for (size_t at = id * row; at < (id + 1) * row; at += sizeof(float)) {
          float value = 0;
          std::memcpy(&value, &tensor.bytes[at], sizeof value);
          value *= by;
          std::memcpy(&tensor.bytes[at], &value, sizeof value);
        }
      }
    write_tensors(base, all);
  };
  const std::string run = quick("base") + "run.overwrite=true model.path=" + base;
  for (const float by : {0.F, 1e-20F, 1e-3F}) {
    scale(by);
    const Outcome warned = run_program(run);
    EXPECT_EQ(warned.status, 0);
    EXPECT_THAT(warned.output, HasSubstr("never learned, their weights being zeros"))
        << by;
  }
  scale(0.1F);
  EXPECT_THAT(run_program(run).output, Not(HasSubstr("never learned")));
  scale(0);
  EXPECT_THAT(run_program(run + "model.train=all").output,
              Not(HasSubstr("never learned")));
  EXPECT_THAT(run_program(quick("base") + "run.overwrite=true").output,
              Not(HasSubstr("never learned")));
}

TEST_F(Brought, MaxStepsBeyondTheEpochsAreWarnedOf) {
  const Outcome run =
      run_program(quick("short") + "data.limit=8 train.epochs=1 train.max_steps=1000");
  EXPECT_EQ(run.status, 0);
  EXPECT_THAT(run.output, HasSubstr("train.max_steps = 1,000 is not reached"));
}

TEST_F(Brought, ARunsOwnConfigGoesOnInItsFolderFromAnywhere) {
  const std::string there = "cd " + folder().string() + " && " + LOWMEM_TRAIN;
  const std::string settings = " model.path=" + at("model") +
                               " data.train=" + at("train.jsonl") +
                               " run.name=home run.dir=mine train.save_every=2 ";
  ASSERT_EQ(run_command(there + settings + "train.max_steps=2").status, 0);
  fs::create_directories(folder() / "elsewhere");
  const Outcome resumed = run_command("cd " + at("elsewhere") + " && " + LOWMEM_TRAIN +
                                      " --resume --config " +
                                      at("mine/home/config.yaml") + " train.max_steps=4");
  EXPECT_EQ(resumed.status, 0);
  EXPECT_THAT(resumed.output, HasSubstr("goes on after step 2"));
  EXPECT_TRUE(fs::is_empty(folder() / "elsewhere"));
}

// A template that writes the day writes the one on which the run began.
TEST_F(Brought, ARunThatGoesOnOnAnotherDayHasTheDayOnWhichItBegan) {
  const fs::path model = folder() / "dated";
  fs::copy(at("model"), model, fs::copy_options::recursive);
  std::ofstream(model / "chat_template.jinja")
      << "{{ bos_token + strftime_now('%d %b %Y') }}{% for m in messages %}"
         "{{ m.role + ': ' + m.content + eos_token }}{% endfor %}";
  std::ofstream rows(at("dated.jsonl"));
  for (int i = 0; i < 40; ++i)
    rows << R"({"messages": [{"role": "user", "content": "A man number )" << i
         << R"("}, {"role": "assistant", "content": "bakes"}]})"
         << "\n";
  rows.close();
  const auto run = [&](const std::string& name, const std::string& more) {
    const Outcome outcome =
        run_program(quick(name) + "model.path=" + model.string() +
                    " data.train=" + at("dated.jsonl") +
                    " train.batch_size=4 train.max_steps=8 train.save_every=3 " + more);
    EXPECT_EQ(outcome.status, 0) << outcome.output;
  };
  run("whole", "data.chat_date=2020-02-03");
  run("parts", "data.chat_date=2020-02-03");
  fs::remove(folder_of("parts") / "results.json");
  fs::remove_all(folder_of("parts") / "model");
  run("parts", "--resume");  // today
  train::expect_equal_runs(folder_of("whole"), folder_of("parts"));
  EXPECT_THAT(read_file(folder_of("parts") / "config.yaml"), HasSubstr("2020-02-03"));
  run("today", "");
  EXPECT_NE(read_file(folder_of("today") / "model/model.safetensors"),
            read_file(folder_of("whole") / "model/model.safetensors"));
}

TEST_F(Brought, WhatAShellWouldHaveReplacedIsRefused) {
  for (const char* setting :
       {"run.dir='~/runs'", "run.dir='$HOME/runs'", "model.path='~/model'",
        "data.train='${DATA}/rows.jsonl'", "eval.data='~/val.jsonl'"}) {
    const Outcome refused = run_program(quick("shell") + setting);
    EXPECT_EQ(refused.status, 1) << setting;
    EXPECT_THAT(refused.output, HasSubstr("only a shell replaces")) << setting;
  }
  // A name may hold the signs all the same.
  const Outcome other = run_program(quick("shell") + "data.train='rows~$1.jsonl'");
  EXPECT_THAT(other.output, HasSubstr("rows~$1.jsonl: cannot be read"));
}

TEST_F(Brought, FoldersThatAreNoModelSayWhatTheyAre) {
  const auto said = [](const std::string& path) {
    const Outcome refused = run_program(quick("folder") + "model.path=" + path);
    EXPECT_EQ(refused.status, 1);
    return refused.output;
  };
  fs::create_directories(folder() / "adapter");
  write_file_atomically(folder() / "adapter/adapter_config.json", "{}");
  EXPECT_THAT(said(at("adapter")), HasSubstr("holds an adapter"));
  fs::create_directories(folder() / "models--org--tiny/snapshots/abc");
  EXPECT_THAT(said(at("models--org--tiny")), HasSubstr("snapshots/REVISION"));
  EXPECT_THAT(said("meta-llama/Llama-3.2-1B"), HasSubstr("hf download"));
}

TEST_F(Brought, KeysThatCannotChangeTheModelAreNoReasonToRefuse) {
  const std::string published =
      model("published", {{"is_llama_config", true},
                          {"rope_interleaved", false},
                          {"transformers.js_config", {{"dtype", "q4"}}},
                          {"neftune_noise_alpha", 0.0}});
  EXPECT_EQ(evaluate(published).output, evaluate(at("model")).output);
  EXPECT_THAT(evaluate(model("other", {{"rope_interleaved", true}})).output,
              HasSubstr("rope_interleaved"));
}

// The token is one of the tokenizer's, and the weights have no row for it.
TEST_F(Brought, APaddingTokenBeyondTheVocabularyIsNeverMet) {
  const std::string path = model("padded", json::object());
  json tokenizer = read_json(path + "/tokenizer.json");
  const auto beyond = read_json(path + "/config.json")["vocab_size"].get<int64_t>();
  json added = tokenizer["added_tokens"];
  auto next = static_cast<int64_t>(tokenizer["model"]["vocab"].size());
  for (; next <= beyond; ++next) {
    json token = {{"id", next},         {"content", "<pad" + std::to_string(next) + ">"},
                  {"special", true},    {"single_word", false},
                  {"lstrip", false},    {"rstrip", false},
                  {"normalized", false}};
    added.push_back(token);
  }
  tokenizer["added_tokens"] = added;
  write_file_atomically(path + "/tokenizer.json", tokenizer.dump());
  const std::string as = quick("padded") + "run.overwrite=true model.path=" + path;
  const Outcome trained = run_program(as);
  EXPECT_EQ(trained.status, 0) << trained.output;
  EXPECT_EQ(evaluate(path).output, evaluate(at("model")).output);

  const std::string token = "<pad" + std::to_string(beyond) + ">";
  const std::string file =
      rows("pad.jsonl", json{{"text", "one"}}.dump() + "\n" +
                            json{{"text", "a " + token + " b"}}.dump() + "\n");
  for (const std::string command : {"data ", ""}) {
    const Outcome refused = run_program(command + as + " data.train=" + file);
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.output, HasSubstr("pad.jsonl line 2"));
    EXPECT_THAT(refused.output, HasSubstr("\"" + token + "\" with the id"));
  }
}

TEST_F(Brought, LabelsMayBeWrittenAsATableHasThem) {
  std::ifstream in(at("val.jsonl"));
  std::string integers, reals, line;
  for (int i = 0; i < 8 && std::getline(in, line); ++i) {
    json row = json::parse(line);
    integers += row.dump() + "\n";
    row["label"] = static_cast<double>(row["label"].get<int>());
    reals += row.dump() + "\n";
  }
  const auto score = [&](const std::string& file) {
    return evaluate(at("model"), "", "eval.data=" + file).output;
  };
  EXPECT_EQ(score(rows("reals.jsonl", reals)), score(rows("integers.jsonl", integers)));
  json bad = json::parse(line);
  bad["label"] = 1.5;
  EXPECT_THAT(score(rows("half.jsonl", bad.dump())), HasSubstr("label = 1.5"));
}

TEST_F(Brought, NumbersThatJsonDoesNotHaveAreNamed) {
  const std::string file = rows("nan.jsonl", R"({"text": "a", "score": NaN})");
  const Outcome refused =
      run_program("data model.path=" + at("model") + " data.train=" + file);
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output, HasSubstr("null in the place of NaN"));
}

TEST_F(Brought, ClosedStandardStreamsEndInNoFile) {
  for (const char* closed : {"2>&-", ">&- 2>&-", "<&- >&- 2>&-"}) {
    const std::string run = quick("closed") + "run.overwrite=true train.save_every=2";
    const int status = std::system(
        ("bash -c '" + std::string(LOWMEM_TRAIN) + run + " " + closed + "'").c_str());
    EXPECT_EQ(status, 0) << closed;
    for (const auto& entry : fs::recursive_directory_iterator(at("runs/closed"))) {
      if (!entry.is_regular_file()) continue;
      EXPECT_THAT(read_file(entry.path()), Not(HasSubstr("wrote " + at("runs"))))
          << entry.path();
    }
  }
}

TEST_F(Brought, AnotherLibTorchOnThePathIsNotTaken) {
  fs::create_directories(folder() / "other");
  write_file_atomically(folder() / "other/libc10.so", "no library");
  const Outcome version =
      run_command("LD_LIBRARY_PATH=" + at("other") + " " + LOWMEM_TRAIN + " --version");
  EXPECT_EQ(version.status, 0) << version.output;
}

}  // namespace
}  // namespace lowmem::test

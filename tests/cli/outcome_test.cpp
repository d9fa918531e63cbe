// How a run went, and what it leaves for whoever takes its model: nothing learned, lost
// again or forgotten goes without a word.
#include <gmock/gmock.h>

#include "cli/program.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr, testing::Not;
namespace fs = std::filesystem;

class Outcomes : public DemoProgram {
 protected:
  static std::string evaluated(const std::string& name, const std::string& more = "") {
    return quick(name) + "eval.data=" + at("val.jsonl") +
           " eval.limit=40 run.overwrite=true " + more;
  }
};

// A learning rate that wrecks the model, so that an evaluation in between is the best.
constexpr const char* kUpAndDown =
    "optimizer.lr=0.003 optimizer.schedule=constant train.max_steps=120 "
    "train.batch_size=16 eval.every=15 ";

TEST_F(Outcomes, TheBestWeightsAreExported) {
  const std::string run = evaluated("best", kUpAndDown) + "train.stop_after=3 ";
  ASSERT_EQ(run_program(run + "train.keep_best=true").status, 0);
  const json kept = results("best");
  double best = -1;
  int64_t step = 0;
  for (const json& epoch : kept["accuracy"]["epochs"])
    if (epoch["acc"] > best) {
      best = epoch["acc"];
      step = epoch["step"];
    }
  ASSERT_LT(step, kept["steps"]) << "an earlier evaluation is the best";
  EXPECT_EQ(kept["best"]["step"], step);
  EXPECT_EQ(kept["exported_step"], step);
  EXPECT_FALSE(fs::exists(folder_of("best") / "best"));
  const Outcome again =
      run_command(std::string(LOWMEM_TRAIN) + " evaluate -q --rows " + at("again.jsonl") +
                  " --model " + (folder_of("best") / "model").string() +
                  " eval.data=" + at("val.jsonl") +
                  " eval.limit=40 model.dtype=fp32 model.compute_dtype=fp32");
  ASSERT_EQ(again.status, 0) << again.output;
  EXPECT_EQ(
      read_file(at("again.jsonl")),
      read_file(folder_of("best") / ("evaluation-" + std::to_string(step) + ".jsonl")));
  ASSERT_EQ(run_program(run).status, 0);
  EXPECT_EQ(results("best")["exported_step"], results("best")["steps"]);
}

TEST_F(Outcomes, EvaluationsWithoutGainEndTheRun) {
  const Outcome run = run_program(evaluated(
      "still", "optimizer.lr=0 train.max_steps=60 eval.every=10 train.stop_after=2"));
  EXPECT_EQ(run.status, 0);
  EXPECT_THAT(run.output, HasSubstr("no gain since the evaluation after step 10"));
  const json ended = results("still");
  EXPECT_EQ(ended["status"], "finished");
  EXPECT_EQ(ended["steps"], 30);
  EXPECT_EQ(ended["accuracy"]["after"]["acc"], ended["accuracy"]["before"]["acc"]);
  const Outcome over =
      run_program(evaluated("still",
                            "optimizer.lr=0 train.max_steps=60 eval.every=10 "
                            "train.stop_after=2 run.overwrite=false --resume"));
  EXPECT_THAT(over.output, HasSubstr("has finished already"));
}

TEST_F(Outcomes, WhatLooksBackAtEvaluationsNeedsSome) {
  for (const char* setting : {"train.keep_best=true", "train.stop_after=1"}) {
    EXPECT_THAT(run_program(quick("none") + setting).output,
                HasSubstr("eval.data names no rows"));
    EXPECT_THAT(run_program(evaluated("none", "eval.every=never ") + setting).output,
                HasSubstr("eval.every = never"));
  }
}

TEST_F(Outcomes, ARunThatLearnsNothingSaysSo) {
  const Outcome none = run_program(
      quick("nothing") + "optimizer.lr=1e-7 train.max_steps=120 train.log_every=10");
  EXPECT_EQ(none.status, 0);
  EXPECT_THAT(none.output, HasSubstr("warning: after 100 steps the loss is"));
  EXPECT_THAT(none.output, HasSubstr("nothing is learned"));
  const Outcome learned = run_program(quick("something") + "optimizer.lr=0.01 " +
                                      "train.max_steps=120 train.log_every=10");
  EXPECT_THAT(learned.output, Not(HasSubstr("nothing is learned")));
}

TEST_F(Outcomes, ARunThatForgetsSaysSo) {
  const std::string trained =
      evaluated("trained", "train.max_steps=150 train.batch_size=16 optimizer.lr=0.003");
  ASSERT_EQ(run_program(trained).status, 0);
  const Outcome forgot =
      run_program(evaluated("forgot",
                            "optimizer.lr=0.3 optimizer.warmup_steps=40 "
                            "train.max_steps=40 eval.every=1 ") +
                  "model.path=" + (folder_of("trained") / "model").string());
  EXPECT_EQ(forgot.status, 0);
  EXPECT_THAT(forgot.output, HasSubstr("evaluates worse than before training"));
  EXPECT_THAT(forgot.output, HasSubstr("the model evaluated best after step"));
  EXPECT_THAT(forgot.output, HasSubstr("train.keep_best = true exports the best"));
}

TEST_F(Outcomes, TheModelsFolderSaysWhatItIs) {
  const fs::path base = folder() / "models--org--tiny/snapshots/abc";
  fs::create_directories(base.parent_path());
  fs::copy(folder() / "model", base, fs::copy_options::recursive);
  json config = read_json(base / "config.json");
  config["dtype"] = "float32";
  config["torch_dtype"] = "float16";
  write_file_atomically(base / "config.json", config.dump());
  write_file_atomically(base / "LICENSE", "terms\n");
  write_file_atomically(base / "Notice.txt", "notice\n");
  write_file_atomically(base / "licensed_data.txt", "no licence\n");
  write_file_atomically(base / "README.md", "the base's card\n");
  fs::create_directories(base / "additional_chat_templates");
  write_file_atomically(base / "additional_chat_templates/rag.jinja", "{{ messages }}");
  const Outcome run = run_program(
      evaluated("card",
                "model.dtype=bf16 model.compute_dtype=bf16 train.keep_best=true "
                "eval.every=3 model.path=") +
      base.string());
  ASSERT_EQ(run.status, 0) << run.output;

  const fs::path made = folder_of("card") / "model";
  EXPECT_EQ(read_json(made / "config.json")["dtype"], "bfloat16");
  EXPECT_EQ(read_json(made / "config.json")["torch_dtype"], "bfloat16");
  EXPECT_EQ(read_file(made / "LICENSE"), "terms\n");
  EXPECT_EQ(read_file(made / "Notice.txt"), "notice\n");
  EXPECT_FALSE(fs::exists(made / "licensed_data.txt"));
  EXPECT_EQ(read_file(made / "additional_chat_templates/rag.jinja"), "{{ messages }}");
  const std::string card = read_file(made / "README.md");
  EXPECT_THAT(card, HasSubstr("base_model: \"org/tiny\"\n"));
  EXPECT_THAT(card, HasSubstr("trained on `train.jsonl`"));
  EXPECT_THAT(card, HasSubstr("| accuracy | "));
  EXPECT_THAT(card, HasSubstr("On `val.jsonl`, HellaSwag's rule, 40 rows"));
  EXPECT_THAT(card, HasSubstr("  max_steps: 6\n"));
  EXPECT_THAT(card, Not(HasSubstr(folder().string())));
}

TEST_F(Outcomes, TheModelsFolderSaysHowChatsWereWritten) {
  const std::string text =
      "{% for turn in messages %}{{ bos_token }}{{ turn.role }}: {{ turn.content }}"
      "{% if turn.role == 'assistant' %}{{ bos_token }}{% endif %}{% endfor %}"
      "{% if add_generation_prompt %}{{ bos_token }}assistant: {% endif %}";
  write_file_atomically(folder() / "turns.jinja", text);
  std::string rows;
  for (int i = 0; i < 8; ++i)
    rows += R"({"messages": [{"role": "user", "content": "the red fox"},
               {"role": "assistant", "content": "ran"}]})";
  std::erase(rows, '\n');
  for (size_t at = 0; (at = rows.find("}]}{", at)) != std::string::npos;)
    rows.insert(at + 3, "\n");
  write_file_atomically(folder() / "chats.jsonl", rows + "\n");
  const auto run = [&](const std::string& name, const std::string& more) {
    const Outcome outcome =
        run_program(quick(name) + "data.train=" + at("chats.jsonl") + " " + more);
    EXPECT_EQ(outcome.status, 0) << outcome.output;
    return folder_of(name) / "model";
  };
  const fs::path made = run("chats", "data.chat_template=" + at("turns.jinja"));
  EXPECT_EQ(read_file(made / "chat_template.jinja"), text);
  EXPECT_EQ(read_json(made / "tokenizer_config.json")["eos_token"], "<s>");
  EXPECT_EQ(read_json(made / "generation_config.json")["eos_token_id"],
            json::array({1, 0}));
  EXPECT_THAT(read_file(made / "README.md"), HasSubstr("by the template `turns.jinja`"));

  const fs::path again = run("again", "model.path=" + made.string());
  for (const char* name :
       {"chat_template.jinja", "tokenizer_config.json", "generation_config.json"})
    EXPECT_EQ(read_file(again / name), read_file(made / name)) << name;
}

TEST_F(Outcomes, APlanSaysWhatTheDiskMustHold) {
  const auto plan = [&](const std::string& more) {
    const Outcome outcome = run_program("plan --json -q " + quick("disk") + more);
    return json::parse(outcome.output)["disk_bytes"].get<int64_t>();
  };
  const auto weights = static_cast<int64_t>(plan(""));
  const auto file =
      static_cast<int64_t>(fs::file_size(folder() / "model/model.safetensors"));
  EXPECT_NEAR(static_cast<double>(weights), static_cast<double>(file), 8192);
  // Adam's two averages and the weights, of the layers: three of them and one more.
  const std::string saved = "model.train=all train.save_every=1 ";
  EXPECT_EQ(plan(saved + "train.keep_checkpoints=3"), weights + 4 * 3 * weights);
  EXPECT_EQ(plan(saved + "train.keep_checkpoints=0"), weights + 6 * 3 * weights);
}

}  // namespace
}  // namespace lowmem::test

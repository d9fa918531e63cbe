// The inputs that the cases damage are in order: what the program refuses is the damage.
#include "bad_input/damaged.h"

namespace lowmem::test {
namespace {

using testing::HasSubstr;

Answer undamaged(std::function<Arguments(const Inputs&)> make) {
  return answer_to({"", std::move(make), "", ""});
}

void expect_a_run(const Answer& answer) {
  EXPECT_EQ(answer.status, 0) << answer.output;
  EXPECT_TRUE(answer.has_results);
  EXPECT_THAT(answer.changed, testing::IsEmpty());
}

TEST(UndamagedInputs, AreTrainedOn) {
  expect_a_run(undamaged([](const Inputs&) { return Arguments(); }));
}

TEST(UndamagedInputs, AreTrainedOnWithEveryKindOfTokenizer) {
  for (const char* name : {"llama2_style", "word_level", "tiktoken", "sentencepiece"}) {
    SCOPED_TRACE(name);
    expect_a_run(undamaged([name](const Inputs& inputs) {
      inputs.take_tokenizer(name);
      return Arguments();
    }));
  }
}

TEST(UndamagedInputs, AreTrainedOnWithAYamlFile) {
  expect_a_run(undamaged([](const Inputs& inputs) {
    inputs.write("run.yaml", "train:\n  epochs: 1\n");
    return Arguments{"--config", inputs.at("run.yaml")};
  }));
}

TEST(UndamagedInputs, AreEvaluated) {
  const Answer answer = answer_to({"", [](const Inputs&) { return Arguments(); }, "", "",
                                   Damage::Command::kEvaluate});
  EXPECT_EQ(answer.status, 0) << answer.output;
  EXPECT_THAT(answer.output, HasSubstr("rows 16\n"));
}

TEST(BadRows, AreLeftOutAndCountedWhereTheConfigurationSaysSo) {
  const Answer answer = undamaged([](const Inputs& inputs) {
    inputs.write("train.jsonl", "{}\n" + inputs.read("train.jsonl") + "not JSON\n");
    inputs.write("val.jsonl", inputs.read("val.jsonl") + "{\"ctx\": \"a\"}\n");
    return Arguments{"data.on_bad_row=skip", "eval.data=" + inputs.at("val.jsonl")};
  });
  expect_a_run(answer);
  EXPECT_THAT(answer.output, HasSubstr("train.jsonl: left out 2 bad rows; the first"));
  EXPECT_THAT(answer.output, HasSubstr("train.jsonl line 1 ctx is missing"));
  EXPECT_THAT(answer.output, HasSubstr("val.jsonl: left out 1 bad row; the first"));
  EXPECT_THAT(answer.output, HasSubstr("val.jsonl line 17 endings is not a list"));
  EXPECT_THAT(answer.output, HasSubstr("read 16 training rows"));
}

TEST(BadRows, StopAnEvaluationToo) {
  const auto make = [](const Inputs& inputs) {
    inputs.write("val.jsonl", inputs.read("val.jsonl") + "{}\n");
    return Arguments();
  };
  const Answer stopped = answer_to({"", make, "", "", Damage::Command::kEvaluate});
  EXPECT_EQ(stopped.status, 1);
  EXPECT_THAT(stopped.output, HasSubstr("val.jsonl line 17"));
}

}  // namespace
}  // namespace lowmem::test

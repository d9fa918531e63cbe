#include "lowmem/config/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "config/support.h"
#include "lowmem/config/overrides.h"

namespace lowmem {
namespace {

using testing::HasSubstr;

RunConfig good() {
  RunConfig config;
  config.model.path = "model";
  config.data.train = {"train.jsonl"};
  config.eval.data = {"val.jsonl"};
  return config;
}

RunConfig good_with(const StringList& overrides) {
  RunConfig config = good();
  for (const std::string& each : overrides) apply_override(config, each);
  return config;
}

TEST(Validate, AcceptsTheDefaultsWithAModelAndData) {
  EXPECT_NO_THROW(validate(good(), Purpose::kTrain));
  EXPECT_NO_THROW(validate(good(), Purpose::kEvaluate));
}

TEST(Validate, AcceptsAdaloraWithItsDefaults) {
  EXPECT_NO_THROW(validate(good_with({"adapter.kind=adalora"}), Purpose::kTrain));
  EXPECT_NO_THROW(
      validate(good_with({"adapter.kind=adalora", "adapter.rank=12",
                          "adapter.target_rank=8", "adapter.tinit=5", "adapter.tfinal=4",
                          "train.max_steps=10", "train.keep_best=true", "eval.every=1"}),
               Purpose::kTrain));
}

struct Invalid {
  StringList overrides;
  const char* thing;
};

class InvalidConfig : public testing::TestWithParam<Invalid> {};

TEST_P(InvalidConfig, IsRefusedNamingKeyAndValue) {
  const Error error =
      test::error_of([] { validate(good_with(GetParam().overrides), Purpose::kTrain); });
  EXPECT_EQ(error.thing(), GetParam().thing);
  EXPECT_FALSE(error.remedy().empty());
}

INSTANTIATE_TEST_SUITE_P(
    Ranges, InvalidConfig,
    testing::Values(
        Invalid{{"run.name="}, "run.name = \"\""},
        Invalid{{"run.name=."}, "run.name = \".\""},
        Invalid{{"adapter.kind=lora", "adapter.init=olora", "adapter.path=there"},
                "adapter.init = olora"},
        Invalid{{"adapter.kind=lora", "adapter.tinit=2"}, "adapter.tinit = 2"},
        Invalid{{"adapter.kind=dora", "adapter.target_rank=2"},
                "adapter.target_rank = 2"},
        Invalid{{"adapter.kind=lora", "adapter.beta1=0.5"}, "adapter.beta1 = 0.5"},
        Invalid{{"adapter.kind=adalora", "adapter.init=pissa"}, "adapter.init = pissa"},
        Invalid{{"adapter.kind=adalora", "adapter.rank_stabilized=true"},
                "adapter.rank_stabilized = true"},
        Invalid{{"adapter.kind=adalora", "adapter.rank_pattern=q_proj=2"},
                "adapter.rank_pattern = \"q_proj=2\""},
        Invalid{{"adapter.kind=adalora", "adapter.alpha_pattern=q_proj=2"},
                "adapter.alpha_pattern = \"q_proj=2\""},
        Invalid{{"adapter.kind=adalora", "adapter.target_rank=0"},
                "adapter.target_rank = 0"},
        Invalid{{"adapter.kind=adalora", "adapter.target_rank=12"},
                "adapter.target_rank = 12"},
        Invalid{{"adapter.kind=adalora", "adapter.rank=1"}, "adapter.target_rank = 1"},
        Invalid{{"adapter.kind=adalora", "adapter.tinit=-1"}, "adapter.tinit = -1"},
        Invalid{{"adapter.kind=adalora", "adapter.tfinal=-1"}, "adapter.tfinal = -1"},
        Invalid{{"adapter.kind=adalora", "adapter.delta_t=0"}, "adapter.delta_t = 0"},
        Invalid{{"adapter.kind=adalora", "adapter.beta1=0"}, "adapter.beta1 = 0.0"},
        Invalid{{"adapter.kind=adalora", "adapter.beta2=1"}, "adapter.beta2 = 1.0"},
        Invalid{{"adapter.kind=adalora", "adapter.orth_reg_weight=-1"},
                "adapter.orth_reg_weight = -1.0"},
        Invalid{{"adapter.kind=adalora", "adapter.tinit=6", "adapter.tfinal=4",
                 "train.max_steps=10"},
                "adapter.tinit = 6"},
        Invalid{{"adapter.kind=adalora", "adapter.tfinal=9", "train.max_steps=10"},
                "adapter.tfinal = 9"},
        Invalid{{"adapter.kind=adalora", "train.keep_best=true", "eval.every=1"},
                "train.keep_best"},
        Invalid{{"adapter.kind=adalora", "train.stop_after=2", "eval.every=1"},
                "train.stop_after"},
        Invalid{{"run.name=.."}, "run.name = \"..\""},
        Invalid{{"run.name=a/b"}, "run.name = a/b"},
        Invalid{{"run.name=\"a\\nb\""}, "run.name = \"a\\x0ab\""},
        Invalid{{"run.dir="}, "run.dir = \"\""}, Invalid{{"model.path="}, "model.path"},
        Invalid{{"model.train="}, "model.train = []"},
        Invalid{{"model.train=layers,,all"}, "model.train = [layers, \"\", all]"},
        Invalid{{"optimizer.eps=0"}, "optimizer.eps = 0.0"},
        Invalid{{"optimizer.eps=1e-60"}, "optimizer.eps = 1.0e-60"},
        Invalid{{"model.dtype=fp32", "optimizer.rounding=kahan"},
                "optimizer.rounding = kahan"},
        Invalid{{"optimizer.name=adafactor", "optimizer.state_dtype=bf16"},
                "optimizer.state_dtype = bf16"},
        Invalid{{"model.dtype=bf16", "model.compute_dtype=fp32"},
                "model.compute_dtype = fp32"},
        Invalid{{"data.train="}, "data.train = []"},
        Invalid{{"data.train=[\"\"]"}, "data.train = \"\""},
        Invalid{{"data.max_length=1"}, "data.max_length = 1"},
        Invalid{{"data.limit=-1"}, "data.limit = -1"},
        Invalid{{"train.epochs=-1"}, "train.epochs = -1"},
        Invalid{{"train.batch_size=0"}, "train.batch_size = 0"},
        Invalid{{"train.batch_size=9223372036854775807"},
                "train.batch_size = 9223372036854775807"},
        Invalid{{"train.micro_batch_size=-1"}, "train.micro_batch_size = -1"},
        Invalid{{"train.micro_batch_size=9"}, "train.micro_batch_size = 9"},
        Invalid{{"train.max_steps=-1"}, "train.max_steps = -1"},
        Invalid{{"train.log_every=0"}, "train.log_every = 0"},
        Invalid{{"train.save_every=-1"}, "train.save_every = -1"},
        Invalid{{"train.keep_checkpoints=-1"}, "train.keep_checkpoints = -1"},
        Invalid{{"optimizer.lr=-1"}, "optimizer.lr = -1.0"},
        Invalid{{"optimizer.beta1=1", "optimizer.name=adam"}, "optimizer.beta1 = 1.0"},
        Invalid{{"optimizer.beta2=1"}, "optimizer.beta2 = 1.0"},
        Invalid{{"optimizer.beta2=-0.1"}, "optimizer.beta2 = -0.1"},
        Invalid{{"optimizer.eps=-1e-8"}, "optimizer.eps = -1.0e-8"},
        Invalid{{"optimizer.weight_decay=-1"}, "optimizer.weight_decay = -1.0"},
        Invalid{{"optimizer.momentum=1", "optimizer.name=sgd"},
                "optimizer.momentum = 1.0"},
        Invalid{{"optimizer.warmup_steps=-1"}, "optimizer.warmup_steps = -1"},
        Invalid{{"optimizer.clip_norm=-1"}, "optimizer.clip_norm = -1.0"},
        Invalid{{"eval.batch_size=0"}, "eval.batch_size = 0"},
        Invalid{{"eval.limit=-1"}, "eval.limit = -1"},
        Invalid{{"data.chat_date=2026-02-30"}, "data.chat_date = \"2026-02-30\""},
        Invalid{{"data.chat_date=5 March"}, "data.chat_date = \"5 March\""},
        Invalid{{"data.chat_template=$HOME/x.jinja"},
                "data.chat_template = \"$HOME/x.jinja\""}));

INSTANTIATE_TEST_SUITE_P(
    Contradictions, InvalidConfig,
    testing::Values(
        Invalid{{"optimizer.clip_norm=1", "memory.gradients=update"},
                "optimizer.clip_norm = 1.0"},
        Invalid{{"optimizer.momentum=0.9"}, "optimizer.momentum = 0.9"},
        Invalid{{"optimizer.momentum=0.9", "optimizer.name=adam"},
                "optimizer.momentum = 0.9"},
        Invalid{{"optimizer.beta1=0.8"}, "optimizer.beta1 = 0.8"},
        Invalid{{"optimizer.beta2=0.9", "optimizer.name=sgd"}, "optimizer.beta2 = 0.9"},
        Invalid{{"optimizer.eps=0.1", "optimizer.name=sgd"}, "optimizer.eps = 0.1"},
        Invalid{{"memory.cuda_graphs=true", "memory.activations=keep"},
                "memory.cuda_graphs = true"},
        Invalid{{"memory.cuda_graphs=true", "memory.attention=math"},
                "memory.cuda_graphs = true"},
        Invalid{{"memory.cuda_graphs=true", "adapter.kind=lora", "adapter.dropout=0.1"},
                "memory.cuda_graphs = true"},
        Invalid{{"memory.cuda_graphs=true", "memory.weights=host"},
                "memory.cuda_graphs = true"},
        Invalid{{"memory.cuda_graphs=true", "memory.states=disk"},
                "memory.cuda_graphs = true"},
        Invalid{{"memory.cuda_graphs=true", "memory.kept=host"},
                "memory.cuda_graphs = true"},
        Invalid{{"memory.cuda_graphs=true", "model.attention_span=shifted"},
                "memory.cuda_graphs = true"},
        Invalid{{"memory.kept=host", "memory.activations=keep"}, "memory.kept = host"},
        Invalid{{"model.span_group=512"}, "model.span_group = 512"},
        Invalid{{"model.span_group=513", "model.attention_span=shifted"},
                "model.span_group = 513"},
        Invalid{{"model.span_group=0", "model.attention_span=shifted"},
                "model.span_group = 0"},
        Invalid{
            {"memory.cuda_graphs=true", "model.dtype=fp32", "model.compute_dtype=fp32"},
            "memory.cuda_graphs = true"}));

TEST(Validate, AcceptsTheEdgesOfEachRange) {
  const RunConfig config = good_with(
      {"data.max_length=2", "train.epochs=0", "train.batch_size=1",
       "train.micro_batch_size=1", "train.log_every=1", "optimizer.lr=0",
       "optimizer.beta2=0", "optimizer.eps=1e-38", "eval.every=1", "run.seed=-1"});
  EXPECT_NO_THROW(validate(config, Purpose::kTrain));
  EXPECT_NO_THROW(validate(good_with({"train.batch_size=8", "train.micro_batch_size=3"}),
                           Purpose::kTrain));
  EXPECT_NO_THROW(validate(good_with({"optimizer.name=sgd", "optimizer.momentum=0.9"}),
                           Purpose::kTrain));
  EXPECT_NO_THROW(validate(good_with({"model.dtype=fp32"}), Purpose::kTrain));
  EXPECT_NO_THROW(validate(good_with({"memory.gradients=update"}), Purpose::kTrain));
  EXPECT_NO_THROW(validate(good_with({"memory.gradients=update", "optimizer.clip_norm=1",
                                      "optimizer.clip_mode=two_pass"}),
                           Purpose::kTrain));
  EXPECT_NO_THROW(validate(good_with({"optimizer.rounding=kahan"}), Purpose::kTrain));
}

TEST(Validate, RefusesNumbersThatAreNotFinite) {
  RunConfig config = good();
  config.optimizer.lr = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(test::error_of([&] { validate(config, Purpose::kTrain); }).thing(),
              HasSubstr("optimizer.lr"));
  config = good();
  config.optimizer.beta2 = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(test::error_of([&] { validate(config, Purpose::kTrain); }).thing(),
              HasSubstr("optimizer.beta2"));
  config = good();
  config.optimizer.clip_norm = std::numeric_limits<double>::infinity();
  EXPECT_THAT(test::error_of([&] { validate(config, Purpose::kTrain); }).thing(),
              HasSubstr("optimizer.clip_norm"));
}

TEST(Validate, NamesTheWayOutOfClippingWithUpdates) {
  const Error error = test::error_of([] {
    validate(good_with({"optimizer.clip_norm=1", "memory.gradients=update"}),
             Purpose::kTrain);
  });
  EXPECT_THAT(error.problem(), HasSubstr("memory.gradients = update"));
  EXPECT_THAT(error.remedy(), HasSubstr("optimizer.clip_mode = two_pass"));
  EXPECT_THAT(error.remedy(), HasSubstr("memory.gradients = accumulate"));
}

TEST(Validate, AsksAnEvaluationOnlyForWhatItReads) {
  const RunConfig config =
      good_with({"data.train=", "train.batch_size=0", "optimizer.lr=-1"});
  EXPECT_NO_THROW(validate(config, Purpose::kEvaluate));
  const auto thing = [](const RunConfig& wrong) {
    return test::error_of([&] { validate(wrong, Purpose::kEvaluate); }).thing();
  };
  EXPECT_EQ(thing(good_with({"eval.data="})), "eval.data");
  EXPECT_EQ(thing(good_with({"model.path="})), "model.path");
  EXPECT_EQ(thing(good_with({"eval.batch_size=0"})), "eval.batch_size = 0");
  EXPECT_NO_THROW(validate(good_with({"eval.data="}), Purpose::kTrain));
}

}  // namespace
}  // namespace lowmem

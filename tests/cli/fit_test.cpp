// `plan --fit`: what it proposes fits, runs and is worth it.
#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "cli/planned.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST_F(Plan, FitProposesOverridesThatFit) {
  const std::string baseline =
      "model.dtype=fp32 memory.activations=keep memory.gradients=accumulate "
      "memory.linear_cross_entropy=false optimizer.name=adam ";
  // Within reach without another optimizer or precision.
  const json lower = plan_of(baseline +
                             "memory.activations=recompute "
                             "memory.gradients=update");
  const auto asked = lower["peak_bytes"]["total"].get<int64_t>();
  EXPECT_LT(asked, plan_of(baseline)["peak_bytes"]["total"].get<int64_t>());
  const Outcome fit =
      run_program("plan --json -q --fit " + std::to_string(asked) + settings(baseline));
  ASSERT_EQ(fit.status, 0) << fit.output;
  const json proposal = json::parse(fit.output);
  ASSERT_GT(proposal["changes"].size(), 0u);
  const auto overrides = proposal["overrides"].get<std::string>();
  const json plan = plan_of(baseline + overrides);
  EXPECT_LE(plan["peak_bytes"]["total"].get<int64_t>(), asked);
  EXPECT_EQ(proposal["plan"]["peak_bytes"], plan["peak_bytes"]);
  EXPECT_GT(proposal["times_as_long"].get<double>(), 0);
  // What changes no bit of the result goes before what does.
  EXPECT_THAT(overrides, testing::Not(HasSubstr("adafactor")));
  EXPECT_THAT(overrides, testing::Not(HasSubstr("bf16")));
}

// What a configuration sets for Adam alone does not stay where Adafactor takes its place.
TEST_F(Plan, FitProposesNothingThatIsRefused) {
  std::ofstream(at("adamw.yaml"))
      << "model: {dtype: fp32, compute_dtype: bf16}\n"
         "optimizer: {name: adamw, state_dtype: bf16, beta1: 0.8, beta2: 0.95, "
         "weight_decay: 0.1}\n"
         "memory: {activations: recompute, cuda_graphs: true}\n";
  const std::string adamw = "--config " + at("adamw.yaml") + " ";
  int64_t asked = plan_of(adamw)["peak_bytes"]["total"].get<int64_t>();
  bool reached = false;
  // Down a ladder until nothing fits: every rung is a configuration that runs.
  for (;;) {
    const Outcome fit = run_program("plan --json -q --fit " +
                                    std::to_string(asked - asked / 20) + settings(adamw));
    if (fit.status != 0) break;
    const json proposal = json::parse(fit.output);
    const auto overrides = proposal["overrides"].get<std::string>();
    const json plan = plan_of(adamw + overrides);
    EXPECT_EQ(plan["peak_bytes"], proposal["plan"]["peak_bytes"]) << overrides;
    ASSERT_LT(plan["peak_bytes"]["total"].get<int64_t>(), asked) << overrides;
    asked = plan["peak_bytes"]["total"].get<int64_t>();
    reached = reached || overrides.find("adafactor") != std::string::npos;
  }
  EXPECT_TRUE(reached);
}

// With many micro-batches an update in backward holds the inputs of all of them.
TEST_F(Plan, FitTurnsToAccumulationWhereThatTakesLess) {
  const std::string parts = "train.batch_size=64 train.micro_batch_size=1 ";
  const auto update =
      plan_of(parts + "memory.gradients=update")["peak_bytes"]["total"].get<int64_t>();
  const auto accumulate =
      plan_of(parts + "memory.gradients=accumulate")["peak_bytes"]["total"]
          .get<int64_t>();
  ASSERT_LT(accumulate, update);
  const Outcome fit = run_program("plan --json -q --fit " + std::to_string(accumulate) +
                                  settings(parts + "memory.gradients=update"));
  ASSERT_EQ(fit.status, 0) << fit.output;
  EXPECT_LE(json::parse(fit.output)["plan"]["peak_bytes"]["total"].get<int64_t>(),
            accumulate);
}

TEST_F(Plan, FitGivesUpMomentumAndCompensation) {
  for (const std::string settings_of :
       {"optimizer.name=sgd optimizer.momentum=0.9", "optimizer.rounding=kahan"}) {
    const json plan = plan_of(settings_of + " train.batch_size=1");
    const auto bytes = plan["peak_bytes"]["total"].get<int64_t>() -
                       plan["items"]["optimizer_state"].get<int64_t>() / 2;
    const Outcome fit = run_program("plan --json -q --fit " + std::to_string(bytes) +
                                    settings(settings_of + " train.batch_size=1"));
    EXPECT_EQ(fit.status, 0) << fit.output;
  }
}

TEST_F(Plan, FitSaysWhereItFitsAsItIs) {
  const Outcome fit =
      run_program("plan -q --fit 12GiB" + settings("memory.activations=keep"));
  ASSERT_EQ(fit.status, 0) << fit.output;
  EXPECT_THAT(fit.output, HasSubstr("fits as it is"));
}

TEST_F(Plan, FitProposesNothingSlowerWhereItFitsAsItIs) {
  for (int i = 0; i < 5; ++i) {
    const Outcome fit = run_program("plan -q --json --fit 12GiB" + settings(""));
    ASSERT_EQ(fit.status, 0) << fit.output;
    const json proposal = json::parse(fit.output);
    const bool unchanged = proposal["changes"].empty();
    EXPECT_EQ(proposal["times_as_long"].get<double>() < 1, !unchanged) << fit.output;
  }
}

TEST_F(Plan, FitRefusesWhatNothingFits) {
  const Outcome fit = run_program("plan --fit 100KiB" + settings(""));
  EXPECT_EQ(fit.status, 1);
  EXPECT_THAT(fit.output, HasSubstr("error: 100.0 KiB"));
  const std::string before = "the smallest peak is ";
  const size_t at = fit.output.find(before);
  ASSERT_NE(at, std::string::npos) << fit.output;
  std::istringstream words(fit.output.substr(at + before.size()));
  std::string number, unit;
  words >> number >> unit;
  const Outcome again =
      run_program("plan --fit " + number + unit.substr(0, 3) + settings(""));
  EXPECT_EQ(again.status, 0) << again.output;
  const Outcome size = run_program("plan --fit 12parsecs" + settings(""));
  EXPECT_EQ(size.status, 1);
  EXPECT_THAT(size.output, HasSubstr("12parsecs"));
}

}  // namespace
}  // namespace lowmem::test

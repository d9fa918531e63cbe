// `plan` for a GPU against what the same run then takes, of the GPU's memory in each
// phase and of the host's, over the settings that move either.
#include "fake_gpu/program.h"

namespace lowmem::test {
namespace {

using nlohmann::json;

const std::vector<std::string> kOnTheGpu = {
    "",
    "memory.activations=keep memory.gradients=accumulate optimizer.name=adamw",
    "train.micro_batch_size=3",
    "memory.activations=2 train.micro_batch_size=4 memory.gradients=accumulate "
    "optimizer.name=sgd",
    "model.train=all model.dtype=fp32 optimizer.name=adam memory.activations=1",
    "model.train=all model.dtype=fp32 model.compute_dtype=fp32 memory.activations=keep "
    "optimizer.name=sgd optimizer.momentum=0.9",
    "model.train=all optimizer.name=adamw optimizer.state_dtype=bf16 "
    "optimizer.clip_norm=1 memory.gradients=accumulate",
    "model.train=all memory.linear_cross_entropy=false train.micro_batch_size=5",
    "optimizer.name=adamw optimizer.state_dtype=int8 memory.activations=3",
    "optimizer.name=adam optimizer.state_dtype=bf16 optimizer.rounding=kahan "
    "optimizer.clip_norm=1 optimizer.clip_mode=two_pass",
    "model.train=*.mlp.*,model.norm.weight optimizer.name=adam",
};

const std::vector<std::string> kWeightsElsewhere = {
    "memory.weights=host",
    "memory.weights=host memory.ahead=0 optimizer.name=adamw",
    "memory.weights=host memory.ahead=1 model.train=all optimizer.name=adam",
    "memory.weights=host memory.ahead=0 memory.resident_blocks=2 memory.activations=2 "
    "model.train=all",
    "memory.weights=host memory.states=device memory.activations=keep "
    "optimizer.name=adamw optimizer.state_dtype=int8",
    "memory.weights=host memory.states=disk memory.kept=host memory.ahead=1 "
    "optimizer.name=adam",
    "memory.weights=host model.dtype=fp32 memory.gradients=accumulate "
    "train.micro_batch_size=3",
    "memory.weights=host model.train=all optimizer.name=sgd optimizer.clip_norm=1 "
    "optimizer.clip_mode=two_pass train.micro_batch_size=4",
    "memory.weights=disk memory.ahead=1",
    "memory.weights=disk memory.ahead=0 model.train=all optimizer.name=adamw",
    "memory.weights=disk memory.states=host optimizer.name=adam "
    "optimizer.state_dtype=bf16",
    "memory.weights=disk memory.states=device memory.kept=disk memory.activations=1 "
    "optimizer.name=adamw",
    "memory.weights=disk memory.resident_blocks=1 model.dtype=fp32 "
    "model.compute_dtype=fp32",
    "memory.weights=disk memory.kept=host memory.ahead=1 memory.gradients=accumulate "
    "model.train=all train.micro_batch_size=3",
    "memory.weights=disk memory.kept=disk memory.ahead=2 optimizer.rounding=kahan",
};

const std::vector<std::string> kStatesAndInputsElsewhere = {
    "memory.states=host memory.ahead=0 optimizer.name=adamw",
    "memory.states=host memory.ahead=1 model.train=all optimizer.name=adamw "
    "optimizer.state_dtype=int8",
    "memory.states=disk memory.resident_blocks=2 optimizer.name=adam",
    "memory.states=disk memory.kept=host memory.activations=2 model.train=all "
    "optimizer.name=adam optimizer.state_dtype=bf16",
    "memory.kept=host memory.ahead=0",
    "memory.kept=host memory.ahead=2 memory.activations=2 model.train=all "
    "train.micro_batch_size=2",
    "memory.kept=disk memory.ahead=0 memory.activations=1",
    "memory.kept=disk memory.ahead=1 memory.gradients=accumulate optimizer.name=sgd "
    "train.micro_batch_size=6",
};

// Trained edges of which several slices pass, one after another.
const std::vector<std::string> kSlicedEdges = {
    "memory.weights=host memory.ahead=1 optimizer.name=adam",
    "memory.states=host memory.ahead=0 optimizer.name=adamw optimizer.state_dtype=int8",
};

const std::vector<std::string> kAdapters = {
    "adapter.kind=lora adapter.rank=4 optimizer.name=adamw",
    "adapter.kind=lora adapter.targets=down_proj optimizer.name=adamw",
    "adapter.kind=lora adapter.targets=all-linear adapter.merge=true memory.weights=disk "
    "memory.ahead=0 optimizer.name=adamw",
    "model.quantize=nf4 adapter.kind=lora adapter.targets=all-linear adapter.rank=4 "
    "adapter.dropout=0.1 optimizer.name=adamw",
    "model.quantize=nf4 model.double_quantization=false adapter.kind=dora "
    "memory.weights=disk memory.states=host optimizer.name=adamw "
    "optimizer.state_dtype=int8",
    "model.quantize=int8 adapter.kind=dora adapter.targets=all-linear adapter.rank=4 "
    "adapter.lr_ratio=4 memory.weights=host optimizer.name=adamw",
    "model.quantize=int8 adapter.kind=lora adapter.also_train=norm memory.kept=host "
    "memory.activations=2 memory.gradients=accumulate optimizer.name=sgd",
};

class PlanOnFakeGpu : public ProgramOnFakeGpu,
                      public testing::WithParamInterface<std::string> {
 protected:
  // Tensors that count beside the workspace of cuBLAS, and more blocks than come at once.
  static std::string model(const std::string& name, int64_t words) {
    return reshaped(name, {{"hidden_size", 256},
                           {"intermediate_size", 768},
                           {"num_hidden_layers", 6},
                           {"num_attention_heads", 8},
                           {"num_key_value_heads", 4},
                           {"head_dim", 32},
                           {"vocab_size", words},
                           {"tie_word_embeddings", false}})
        .string();
  }
  static void expect_as_planned(const std::string& own, const std::string& model,
                                bool evaluates) {
    const std::string settings =
        "memory.cuda_graphs=false train.max_steps=2 train.batch_size=16 "
        "run.overwrite=true "
        "run.tensorboard=false model.path=" +
        model + " " + own +
        (evaluates ? " eval.limit=8 eval.data=" + (folder() / "val.jsonl").string() : "");
    const Outcome plan = run("plan --json -q", "planned", settings);
    ASSERT_EQ(plan.status, 0) << plan.output;
    const Outcome trained = train("planned", settings + " -q");
    ASSERT_EQ(trained.status, 0) << trained.output;
    const json planned = json::parse(plan.output), measured = results("planned");
    const auto workspace = planned["items"]["workspace"].get<double>();
    EXPECT_GT(workspace, 0);
    for (const auto& [phase, bytes] : measured["peak_bytes"].items()) {
      const auto peak = bytes.get<double>();
      const double beside = peak > workspace && phase != "load" ? peak - workspace : peak;
      EXPECT_NEAR(planned["peak_bytes"][phase].get<double>(), peak, 0.02 * beside)
          << phase;
    }
    const auto host = measured["host_peak_bytes"].get<double>();
    EXPECT_NEAR(planned["host_peak_bytes"].get<double>(), host, 0.02 * host);
  }
};

// The allocator's peak, in multiples of 512 bytes, of what the CPU went through. Beside
// the workspace of cuBLAS, which is in it after loading and known to the byte.
TEST_P(PlanOnFakeGpu, IsWithinTwoPercentOfEachPhasesPeakAndOfTheHosts) {
  const bool evaluates = std::hash<std::string>()(GetParam()) % 2 == 0;
  expect_as_planned(GetParam(), model("plain", 8192), evaluates);
}

class EdgesPlanOnFakeGpu : public PlanOnFakeGpu {};

// Of 65,536 words 29,952 are a slice of the head beside some 560 labels, and 16,384 a
// part of the embedding.
TEST_P(EdgesPlanOnFakeGpu, IsWithinTwoPercentWithSeveralSlices) {
  expect_as_planned(GetParam() + " model.train=all train.batch_size=64",
                    model("wordy", 65536), false);
}
INSTANTIATE_TEST_SUITE_P(Sliced, EdgesPlanOnFakeGpu, testing::ValuesIn(kSlicedEdges),
                         [](const auto& tested) { return std::to_string(tested.index); });

std::string number(const testing::TestParamInfo<std::string>& tested) {
  return std::to_string(tested.index);
}
INSTANTIATE_TEST_SUITE_P(OnTheGpu, PlanOnFakeGpu, testing::ValuesIn(kOnTheGpu), number);
INSTANTIATE_TEST_SUITE_P(WeightsElsewhere, PlanOnFakeGpu,
                         testing::ValuesIn(kWeightsElsewhere), number);
INSTANTIATE_TEST_SUITE_P(StatesAndInputsElsewhere, PlanOnFakeGpu,
                         testing::ValuesIn(kStatesAndInputsElsewhere), number);
INSTANTIATE_TEST_SUITE_P(Adapters, PlanOnFakeGpu, testing::ValuesIn(kAdapters), number);

}  // namespace
}  // namespace lowmem::test

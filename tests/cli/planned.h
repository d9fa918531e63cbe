// Plans of runs of the demo, by the program.
#pragma once

#include "cli/program.h"

namespace lowmem::test {

class Plan : public DemoProgram {
 protected:
  static std::string settings(const std::string& more) {
    return " model.path=" + at("model") + " data.train=" + at("train.jsonl") +
           " run.dir=" + at("runs") +
           " run.name=run run.overwrite=true train.max_steps=4 train.log_every=100 "
           "eval.limit=24 " +
           more;
  }
  static nlohmann::json plan_of(const std::string& more) {
    const Outcome plan = run_program("plan --json -q" + settings(more));
    EXPECT_EQ(plan.status, 0) << plan.output;
    return nlohmann::json::parse(plan.output);
  }
  // A model that no machine of a test could hold: 70 billion weights, of which there are
  // none.
  static std::filesystem::path huge_model() {
    const auto huge = folder() / "huge";
    if (exists(huge)) return huge;
    std::filesystem::copy(folder() / "model", huge,
                          std::filesystem::copy_options::recursive);
    std::filesystem::remove(huge / "model.safetensors");
    write_shape(huge / "config.json", {{"hidden_size", 8192},
                                       {"intermediate_size", 28672},
                                       {"num_hidden_layers", 80},
                                       {"num_attention_heads", 64},
                                       {"num_key_value_heads", 8},
                                       {"head_dim", 128},
                                       {"vocab_size", 128256}});
    return huge;
  }
};

}  // namespace lowmem::test

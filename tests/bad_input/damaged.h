#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

// Inputs damaged in one way each and given to the program as a user would. A subject is a
// table of Damage; each becomes a test that asks the same of the answer:
//
//   std::vector<Damage> damages() { return {...}; }
//   LOWMEM_DAMAGES(Rows, damages());   // tests Rows/EveryDamage.IsRefused/<name>
namespace lowmem::test {

// What one case may damage: a folder of its own with `train.jsonl`, `val.jsonl` and a
// folder `model` of config.json, model.safetensors, tokenizer.json and
// tokenizer_config.json. Undamaged, it trains one step.
class Inputs {
 public:
  explicit Inputs(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  std::string read(const std::string& name) const;
  void write(const std::string& name, const std::string& bytes) const;
  nlohmann::json json(const std::string& name) const;
  void remove(const std::string& name) const;
  // Puts the tokenizer of tests/fixtures/tokenizers/NAME in the place of the model's.
  void take_tokenizer(const std::string& name) const;
  void make_pipe(const std::string& name) const;

 private:
  std::filesystem::path folder_;
};

using Arguments = std::vector<std::string>;

struct Damage {
  std::string name;
  // Damages the inputs. What it returns goes on the command line.
  std::function<Arguments(const Inputs&)> make;
  // Parts of the answer's first line, one after the other: the file, line, key or tensor;
  // then what is wrong with it.
  std::string thing, problem;
  // Before the arguments stand those of a quick run, of an evaluation, or none.
  enum class Command { kTrain, kEvaluate, kNone } command = Command::kTrain;
};

// The usual damages: to a JSON file, to the bytes of a file, and to the command line.
Damage damaged_json(const std::string& name, const std::string& file,
                    std::function<void(nlohmann::json&)> edit, const std::string& thing,
                    const std::string& problem);
Damage damaged_file(const std::string& name, const std::string& file,
                    const std::string& bytes, const std::string& thing,
                    const std::string& problem);
Damage wrong_arguments(const std::string& name, const Arguments& arguments,
                       const std::string& thing, const std::string& problem);

struct Answer {
  int status = 0;                    // exit status, or 128 + signal
  bool hung = false;                 // killed after 20 s
  std::string output;                // standard output and error together
  std::vector<std::string> changed;  // inputs that are not as they were
  bool has_results = false;          // there is a results.json
};

// Makes inputs for `damage` and runs the program on them. Safe from several threads.
Answer answer_to(const Damage& damage);

class EveryDamage : public testing::TestWithParam<Damage> {};

// Has the cases run in their order, each while the one before is looked at.
std::vector<Damage> queued(std::vector<Damage> damages);
void PrintTo(const Damage& damage, std::ostream* out);
std::string damage_name(const testing::TestParamInfo<Damage>& info);

}  // namespace lowmem::test

#define LOWMEM_DAMAGES(subject, damages)                                             \
  INSTANTIATE_TEST_SUITE_P(subject, EveryDamage, testing::ValuesIn(queued(damages)), \
                           damage_name)

// Weights in several files with an index that says which holds what.
#include "bad_input/damaged.h"
#include "bad_input/weights.h"

namespace lowmem::test {
namespace {

using nlohmann::json;

constexpr const char* kWeights = "model/model.safetensors";
constexpr const char* kIndex = "model/model.safetensors.index.json";
constexpr const char* kNorm = "model.norm.weight";

// The weights in two shards with an index, which is then damaged.
Damage sharded(const std::string& name,
               std::function<void(const Inputs&, json& index)> edit,
               const std::string& thing, const std::string& problem) {
  const auto make = [edit](const Inputs& inputs) {
    const Weights whole(inputs.read(kWeights));
    inputs.remove(kWeights);
    json index = {{"metadata", json::object()}, {"weight_map", json::object()}};
    for (const std::string file : {"a.safetensors", "b.safetensors"}) {
      json header;
      std::string data;
      for (const auto& [tensor, entry] : whole.header.items()) {
        if (tensor == "__metadata__" || (tensor == kNorm) != (file[0] == 'b')) continue;
        const auto begin = entry["data_offsets"][0].get<size_t>();
        const auto size = entry["data_offsets"][1].get<size_t>() - begin;
        header[tensor] = entry;
        header[tensor]["data_offsets"] = {data.size(), data.size() + size};
        data += whole.data.substr(begin, size);
        index["weight_map"][tensor] = file;
      }
      inputs.write("model/" + file, Weights::assemble(header.dump(), data));
    }
    edit(inputs, index);
    inputs.write(kIndex, index.dump());
    return Arguments();
  };
  return {name, make, thing, problem};
}

Damage indexed(const std::string& name, std::function<void(json&)> edit,
               const std::string& thing, const std::string& problem) {
  return sharded(
      name, [edit](const Inputs&, json& index) { edit(index); }, thing, problem);
}

std::vector<Damage> damaged_indexes() {
  const std::string index = kIndex;
  const std::string entry = index + " tensor \"model.norm.weight\"";
  const auto placed = [&](const std::string& name, const json& file,
                          const std::string& problem) {
    return indexed(
        name, [file](json& j) { j["weight_map"][kNorm] = file; }, entry, problem);
  };
  return {
      {"IndexIsNotJson",
       [](const Inputs& inputs) {
         inputs.remove(kWeights);
         inputs.write(kIndex, "{\n\"weight_map\": oops}");
         return Arguments();
       },
       index + " line 2", "is not valid JSON"},
      indexed(
          "IndexIsAList", [](json& j) { j = json::array(); }, index,
          "has no \"weight_map\""),
      placed("ShardIsANumber", 1, "is not given the name of a file"),
      placed("ShardAboveTheFolder", "../train.jsonl", "not a file of this folder"),
      placed("ShardAtAnAbsolutePath", "/etc/passwd", "not a file of this folder"),
      placed("ShardWithANul", std::string("a\0.safetensors", 14),
             "not a file of this folder"),
      placed("ShardOfAnotherTensor", "a.safetensors", "which has no such tensor"),
      indexed(
          "ShardMissing", [](json& j) { j["weight_map"]["x"] = "c.safetensors"; }, index,
          "names \"c.safetensors\", which is not in the folder"),
      indexed(
          "IndexedTensorMissing", [](json& j) { j["weight_map"]["x"] = "b.safetensors"; },
          index, "which has no such tensor"),
      indexed(
          "IndexLacksATensor", [](json& j) { j["weight_map"].erase(kNorm); },
          "/model tensor model.norm.weight", "is not in the weight files"),
      sharded(
          "ShardCutShort",
          [](const Inputs& inputs, json&) {
            std::filesystem::resize_file(inputs.at("model/b.safetensors"), 100);
          },
          "model/b.safetensors", "is cut short"),
  };
}
LOWMEM_DAMAGES(ShardedWeights, damaged_indexes());

TEST(UndamagedShards, AreTrainedOn) {
  const Damage none = sharded(
      "", [](const Inputs&, json&) {}, "", "");
  const Answer answer = answer_to(none);
  EXPECT_EQ(answer.status, 0) << answer.output;
  EXPECT_TRUE(answer.has_results);
}

}  // namespace
}  // namespace lowmem::test

// model.safetensors: every check of the format, then what config.json asks of the
// weights.
#include "bad_input/weights.h"

#include "bad_input/damaged.h"

namespace lowmem::test {
namespace {

using nlohmann::json;

constexpr const char* kWeights = "model/model.safetensors";
constexpr const char* kHead = "model/model.safetensors header";
constexpr const char* kNorm = "model.norm.weight";

// The weights with their header or data changed.
Damage weights(const std::string& name, std::function<void(Weights&)> edit,
               const std::string& thing, const std::string& problem) {
  const auto make = [edit](const Inputs& inputs) {
    Weights file(inputs.read(kWeights));
    edit(file);
    inputs.write(kWeights, Weights::assemble(file.header.dump(), file.data));
    return Arguments();
  };
  return {name, make, thing, problem};
}

// The same, of the final norm's entry alone.
Damage norm(const std::string& name, std::function<void(json&)> edit,
            const std::string& problem) {
  return weights(
      name, [edit](Weights& file) { edit(file.header[kNorm]); },
      "model.safetensors tensor \"model.norm.weight\"", problem);
}

// The weights with the text of their header changed.
Damage header(const std::string& name, std::function<void(std::string&)> edit,
              const std::string& thing, const std::string& problem) {
  const auto make = [edit](const Inputs& inputs) {
    const Weights file(inputs.read(kWeights));
    std::string text = file.header.dump();
    edit(text);
    inputs.write(kWeights, Weights::assemble(text, file.data));
    return Arguments();
  };
  return {name, make, thing, problem};
}

Damage header_length(const std::string& name, uint64_t length,
                     const std::string& problem) {
  const auto make = [length](const Inputs& inputs) {
    const Weights file(inputs.read(kWeights));
    inputs.write(kWeights, Weights::assemble(file.header.dump(), file.data, length));
    return Arguments();
  };
  return {name, make, kHead, problem};
}

std::vector<Damage> damaged_headers() {
  return {
      damaged_file("EmptyWeights", kWeights, "", kWeights, "too short"),
      damaged_file("LfsPointer", kWeights,
                   "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", kWeights,
                   "is a Git LFS pointer"),
      header_length("HeaderLengthOverflows", UINT64_MAX, "more than the file"),
      header_length("HeaderLengthIs2To62", uint64_t{1} << 62, "more than the file"),
      header_length("HeaderLengthZero", 0, "does not begin with '{'"),
      {"HeaderAbove100MB",
       [](const Inputs& inputs) {
         inputs.write(kWeights, Weights::assemble("{", "", 100'000'001));
         std::filesystem::resize_file(inputs.at(kWeights), 100'000'100);
         return Arguments();
       },
       kHead, "above the format's limit"},
      {"HeaderOf90MBOfBrackets",
       [](const Inputs& inputs) {
         inputs.write(kWeights,
                      Weights::assemble("{\"a\":" + std::string(90'000'000, '['), ""));
         return Arguments();
       },
       kHead, "has a list as \"a\""},
      header(
          "HeaderNotUtf8", [](auto& text) { text.replace(2, 1, "\xFF"); }, kHead,
          "is not valid UTF-8"),
      header(
          "HeaderWithZeroByte", [](auto& text) { text += '\0'; }, kHead, "zero byte"),
      header(
          "TensorTwice",
          [](auto& text) {
            const json norm = json::parse(text)[kNorm];
            text =
                "{\"" + std::string(kNorm) + "\":" + norm.dump() + "," + text.substr(1);
          },
          kNorm, "is in the header twice"),
      norm(
          "NoOffsets", [](json& norm) { norm.erase("data_offsets"); },
          "has no \"data_offsets\""),
      norm(
          "UnknownDtype", [](json& norm) { norm["dtype"] = "F4"; },
          "elements of type \"F4\""),
      norm(
          "ShapeIsNegative", [](json& norm) { norm["shape"][0] = -32; },
          "a negative number in \"shape\""),
      norm(
          "ShapeIs2To62", [](json& norm) { norm["shape"][0] = int64_t{1} << 62; },
          "more than 2^63 bytes"),
      norm(
          "ShapeProductOverflows",
          [](json& norm) {
            norm["shape"] = json::array({1 << 30, 1 << 30, 1 << 30});
          },
          "more than 2^63 bytes"),
      norm(
          "ShapeLargerThanSpan", [](json& norm) { norm["shape"][0] = 33; },
          "has a shape of 132 bytes, but a span of 128"),
      norm(
          "OneOffset", [](json& norm) { norm["data_offsets"].erase(1); },
          "fewer than two numbers"),
      norm(
          "EndBeforeBegin",
          [](json& norm) { std::swap(norm["data_offsets"][0], norm["data_offsets"][1]); },
          "ends before it begins"),
      norm(
          "OffsetsOf2To63",
          [](json& norm) {
            norm["data_offsets"] = {UINT64_MAX, UINT64_MAX};
          },
          "2^63 or more"),
      norm(
          "Overlap",
          [](json& norm) {
            for (json& offset : norm["data_offsets"]) offset = offset.get<int64_t>() - 4;
          },
          "overlaps the tensor before it"),
      norm(
          "Hole",
          [](json& norm) {
            for (json& offset : norm["data_offsets"]) offset = offset.get<int64_t>() + 4;
          },
          "leaves a hole"),
      weights(
          "DataCutShort", [](Weights& file) { file.data.pop_back(); }, kWeights,
          "is cut short"),
      weights(
          "MoreThanTheTensors", [](Weights& file) { file.data += "more"; }, kWeights,
          "has 4 bytes after the last"),
  };
}
LOWMEM_DAMAGES(WeightFiles, damaged_headers());

// Weights that are well formed, and not what config.json describes.
std::vector<Damage> wrong_weights() {
  const std::string folder = "/model tensor ";
  return {
      {"WeightsMissing",
       [](const Inputs& inputs) {
         inputs.remove(kWeights);
         return Arguments();
       },
       "/model", "has neither model.safetensors nor model.safetensors.index.json"},
      {"WeightsAreAPipe",
       [](const Inputs& inputs) {
         inputs.make_pipe(kWeights);
         return Arguments();
       },
       kWeights, "is not a file"},
      {"WeightsAreAPickle",
       [](const Inputs& inputs) {
         inputs.remove(kWeights);
         inputs.write("model/pytorch_model.bin", "\x80\x02.");
         return Arguments();
       },
       "/model", "pytorch_model.bin, which can run code"},
      weights(
          "TensorMissing",
          [](Weights& file) {
            file.header["model.other.weight"] = file.header[kNorm];
            file.header.erase(kNorm);
          },
          folder + kNorm, "is not in the weight files"),
      weights(
          "EmbeddingAndHeadMissing",
          [](Weights& file) {
            file.header["embedding"] = file.header["model.embed_tokens.weight"];
            file.header.erase("model.embed_tokens.weight");
          },
          folder + "model.embed_tokens.weight", "is not in the weight files"),
      weights(
          "TensorTooMany",
          [](Weights& file) {
            const auto end = file.data.size();
            file.header["model.layers.2.mlp.up_proj.weight"] = {
                {"dtype", "U8"}, {"shape", {0}}, {"data_offsets", {end, end}}};
          },
          folder + "model.layers.2.mlp.up_proj.weight", "has no such weight"),
      norm(
          "DtypeIsInteger", [](json& norm) { norm["dtype"] = "I32"; },
          "holds I32 elements"),
      weights(
          "ShapeTransposed",
          [](Weights& file) {
            file.header["model.embed_tokens.weight"]["shape"] = {32, 1024};
          },
          "tensor model.embed_tokens.weight",
          "has the shape [32, 1024], where config.json asks for [1024, 32]"),
      weights(
          "ShapeOfAnotherRank",
          [](Weights& file) {
            file.header[kNorm]["shape"] = json::array({1, 32});
          },
          "model.safetensors tensor model.norm.weight",
          "has the shape [1, 32], where config.json asks for [32]"),
      weights(
          "WeightsAreNotNumbers",
          [](Weights& file) { file.data.assign(file.data.size(), '\xFF'); },
          "model.safetensors tensor model.embed_tokens.weight", "not finite"),
      damaged_json(
          "FewerLayersThanConfigured", "model/config.json",
          [](json& config) { config["num_hidden_layers"] = 3; },
          folder + "model.layers.2.", "is not in the weight files"),
      damaged_json(
          "MoreLayersThanConfigured", "model/config.json",
          [](json& config) { config["num_hidden_layers"] = 1; },
          folder + "model.layers.1.", "has no such weight"),
      damaged_json(
          "AHundredThousandLayersConfigured", "model/config.json",
          [](json& config) { config["num_hidden_layers"] = 100000; },
          folder + "model.layers.2.", "is not in the weight files"),
      damaged_json(
          "LargerThanMemoryConfigured", "model/config.json",
          [](json& config) { config["intermediate_size"] = 2000000000; },
          "mlp.gate_proj.weight", "where config.json asks for [2000000000, 32]"),
      damaged_json(
          "HeadConfigured", "model/config.json",
          [](json& config) { config["tie_word_embeddings"] = false; },
          folder + "lm_head.weight", "is not in the weight files"),
      damaged_json(
          "OtherHeadsConfigured", "model/config.json",
          [](json& config) { config["num_key_value_heads"] = 4; },
          "self_attn.k_proj.weight", "where config.json asks for [32, 32]"),
  };
}
LOWMEM_DAMAGES(Weights, wrong_weights());

}  // namespace
}  // namespace lowmem::test

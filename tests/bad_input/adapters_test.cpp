// Adapter folders, and settings of adapters.
#include "bad_input/damaged.h"

namespace lowmem::test {
namespace {

using nlohmann::json;

// A safetensors file of these fp32 tensors, all of ones.
std::string tensors_of(
    const std::vector<std::pair<std::string, std::vector<int64_t>>>& all,
    float value = 1) {
  json header = json::object();
  std::string data;
  for (const auto& [name, shape] : all) {
    size_t count = 1;
    for (const int64_t size : shape) count *= static_cast<size_t>(size);
    header[name] = {{"dtype", "F32"},
                    {"shape", shape},
                    {"data_offsets", {data.size(), data.size() + 4 * count}}};
    for (size_t i = 0; i < count; ++i)
      data.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  const std::string text = header.dump();
  uint64_t size = text.size();
  return std::string(reinterpret_cast<const char*>(&size), sizeof size) + text + data;
}

const std::string kLayer = "base_model.model.model.layers.0.self_attn.q_proj";
const std::string kOther = "base_model.model.model.layers.1.self_attn.q_proj";
constexpr int64_t kHidden = 32, kRank = 4;

using Shapes = std::vector<std::pair<std::string, std::vector<int64_t>>>;

// What the inputs' model of two layers of 32 takes.
Shapes whole() {
  Shapes all;
  for (const std::string& layer : {kLayer, kOther}) {
    all.push_back({layer + ".lora_A.weight", {kRank, kHidden}});
    all.push_back({layer + ".lora_B.weight", {kHidden, kRank}});
  }
  return all;
}

json config() {
  return {{"peft_type", "LORA"},
          {"r", kRank},
          {"lora_alpha", 8},
          {"target_modules", {"q_proj"}},
          {"bias", "none"}};
}

Damage folder(const std::string& name, const json& settings, const std::string& tensors,
              const std::string& thing, const std::string& problem, Arguments more = {}) {
  return {name,
          [=](const Inputs& inputs) {
            std::filesystem::create_directories(inputs.at("adapter"));
            inputs.write("adapter/adapter_config.json", settings.is_string()
                                                            ? settings.get<std::string>()
                                                            : settings.dump());
            if (!tensors.empty())
              inputs.write("adapter/adapter_model.safetensors", tensors);
            Arguments arguments = {"adapter.path=" + inputs.at("adapter")};
            arguments.insert(arguments.end(), more.begin(), more.end());
            return arguments;
          },
          thing, problem};
}

Damage setting(const std::string& name, const std::string& key, const json& value,
               const std::string& problem) {
  json settings = config();
  settings[key] = value;
  return folder(name, settings, tensors_of(whole()), "adapter_config.json", problem);
}

Damage tensors(const std::string& name, const Shapes& all, const std::string& problem) {
  return folder(name, config(), tensors_of(all), "adapter_model.safetensors", problem);
}

Shapes without(size_t which) {
  Shapes all = whole();
  all.erase(all.begin() + static_cast<std::ptrdiff_t>(which));
  return all;
}

Shapes with(const std::string& name, const std::vector<int64_t>& shape) {
  Shapes all = whole();
  all.emplace_back(name, shape);
  return all;
}

Shapes reshaped(size_t which, const std::vector<int64_t>& shape) {
  Shapes all = whole();
  all[which].second = shape;
  return all;
}

// The same layers of AdaLoRA: of the first three triplets are left, of the other one.
Shapes triplets() {
  Shapes all;
  for (const auto& [layer, left] :
       {std::pair{kLayer, int64_t{3}}, std::pair{kOther, int64_t{1}}}) {
    all.push_back({layer + ".lora_A", {left, kHidden}});
    all.push_back({layer + ".lora_B", {kHidden, left}});
    all.push_back({layer + ".lora_E", {left, 1}});
  }
  return all;
}

json pattern() {
  return {{"model.layers.0.self_attn.q_proj.lora_E", {true, true, false, true}},
          {"model.layers.1.self_attn.q_proj.lora_E", {false, true, false, false}}};
}

json adalora_config() {
  return {{"peft_type", "ADALORA"}, {"r", 8},
          {"init_r", kRank},        {"target_r", 2},
          {"lora_alpha", 8},        {"target_modules", {"q_proj"}},
          {"total_step", 10},       {"rank_pattern", pattern()}};
}

Damage adalora_setting(const std::string& name, const std::string& key, const json& value,
                       const std::string& problem) {
  json settings = adalora_config();
  settings[key] = value;
  return folder(name, settings, tensors_of(triplets()), "adapter_config.json", problem);
}

Damage adalora_tensors(const std::string& name, const Shapes& all,
                       const std::string& problem) {
  return folder(name, adalora_config(), tensors_of(all), "adapter_model.safetensors",
                problem);
}

std::vector<Damage> damaged_triplets() {
  const std::string first = "model.layers.0.self_attn.q_proj.lora_E";
  const auto patterned = [&](const std::string& name, const std::string& key,
                             const json& value, const std::string& problem) {
    json changed = pattern();
    changed[key] = value;
    return adalora_setting(name, "rank_pattern", changed, problem);
  };
  Shapes lacking = triplets(), wider = triplets(), named = triplets();
  lacking.erase(lacking.begin() + 2);
  wider[2].second = {3, 2};
  named[0].first += ".weight";
  return {
      adalora_setting("TripletsAtFirstNone", "init_r", 0,
                      "init_r is no number of at least 1"),
      adalora_setting("TripletsAtFirstAShare", "init_r", 4.5, "init_r is no count"),
      adalora_setting("TripletsAtFirstOthers", "init_r", 6,
                      "is not init_r = 6 times true or false"),
      adalora_setting("TripletsTargetIsAText", "target_r", "2",
                      "target_r is no number of at least 0"),
      adalora_setting("TripletsChosenNever", "deltaT", 0,
                      "deltaT is no number of at least 1"),
      adalora_setting("TripletsByNegativeStep", "tinit", -1,
                      "tinit is no number of at least 0"),
      adalora_setting("TripletsPatternIsAList", "rank_pattern", {true},
                      "rank_pattern is no object"),
      adalora_setting("TripletsPatternMissing", "rank_pattern", nullptr,
                      "and the tensors have 3"),
      patterned("TripletsPatternOfNumbers", first, {1, 1, 0, 1}, "times true or false"),
      patterned("TripletsPatternOfFewer", first, {true, false, true, false},
                "the rank 2, and the tensors have 3"),
      patterned("TripletsPatternTooLong", first, {true, true, false, true, true},
                "times true or false"),
      patterned("TripletsPatternOfNothing", "model.layers.0.self_attn.k_proj.lora_E",
                {true, true, true, true}, "of which the tensors hold nothing"),
      [&] {
        json changed = pattern();
        changed.erase(first);
        return adalora_setting("TripletsPatternOfOneLayer", "rank_pattern", changed,
                               "says nothing of model.layers.0.self_attn.q_proj");
      }(),
      adalora_setting("TripletsScaledByRoot", "use_rslora", true,
                      "which is not implemented"),
      adalora_setting("TripletsWithMagnitudes", "use_dora", true,
                      "which is not implemented"),
      adalora_setting("TripletsOfManyAlphas", "alpha_pattern", {{"q_proj", 4}},
                      "which is not implemented"),
      adalora_tensors("TripletsWithoutE", lacking, "lacks the tensor"),
      adalora_tensors("TripletsOfManyNumbers", wider, "do not belong together"),
      adalora_tensors("TripletsNamedAsOthers", named,
                      "not the one that adapter_config.json names"),
      folder("TripletsNotFinite", adalora_config(),
             tensors_of(triplets(), std::numeric_limits<float>::quiet_NaN()),
             "adapter_model.safetensors", "not finite", {"train.max_steps=2"}),
      folder("TripletsOfLora", config(), tensors_of(triplets()),
             "adapter_model.safetensors", "not the one that adapter_config.json names"),
  };
}
LOWMEM_DAMAGES(AdaloraFolders, damaged_triplets());

std::vector<Damage> damaged_folders() {
  const std::string file = "adapter_config.json", not_done = "which is not implemented";
  std::vector<Damage> all = {
      {"FolderWithoutAConfig",
       [](const Inputs& inputs) {
         return Arguments{"adapter.path=" + inputs.at("model")};
       },
       "/model", "holds no adapter_config.json"},
      folder("AdapterConfigIsNoJson", json("{"), tensors_of(whole()), file,
             "is not valid JSON"),
      folder("AdapterConfigIsAList", json("[]"), tensors_of(whole()), file,
             "is not a JSON object"),
      folder("NoTensors", config(), "", "adapter_model.safetensors", "cannot be read"),
      folder("TensorsCut", config(), tensors_of(whole()).substr(0, 900),
             "adapter_model.safetensors", ""),
      folder("TensorsNotFinite", config(),
             tensors_of(whole(), std::numeric_limits<float>::infinity()),
             "adapter_model.safetensors", "not finite"),
      setting("OtherKind", "peft_type", "LOHA", "only LORA and ADALORA are implemented"),
      setting("KindMissing", "peft_type", nullptr,
              "only LORA and ADALORA are implemented"),
      setting("DoraIsANumber", "use_dora", 1, "use_dora is neither true nor false"),
      setting("DropoutOfAll", "lora_dropout", 1, "lora_dropout is no number from 0"),
      setting("DropoutIsAText", "lora_dropout", "0.1",
              "lora_dropout is no number from 0"),
      setting("BiasTrained", "bias", "all", "trained biases are not implemented"),
      setting("BiasOfB", "lora_bias", true, not_done),
      setting("Qalora", "use_qalora", true, not_done),
      setting("Replication", "layer_replication", {{0, 1}}, not_done),
      setting("SomeLayers", "layers_to_transform", {0}, not_done),
      setting("TargetParameters", "target_parameters", {"x"}, not_done),
      setting("TokenIndices", "trainable_token_indices", {1}, not_done),
      setting("FanInFanOut", "fan_in_fan_out", true, not_done),
      setting("BaseChangedByPissa", "init_lora_weights", "pissa_niter_4",
              "beside a model that this changed"),
      setting("BaseChangedByLoftQ", "init_lora_weights", "loftq",
              "beside a model that this changed"),
      setting("KeyOfTomorrow", "use_wonders", true, not_done),
      setting("RankZero", "r", 0, "r is no number above 0"),
      setting("RankNegative", "r", -4, "r is no number above 0"),
      setting("RankIsAText", "r", "4", "r is no number above 0"),
      setting("RankIsAShare", "r", 4.5, "r is no count"),
      setting("RankOfOthers", "r", 8, "and the tensors have 4"),
      setting("AlphaZero", "lora_alpha", 0, "lora_alpha is no number above 0"),
      setting("StabilizedIsANumber", "use_rslora", 1, "neither true nor false"),
      setting("TargetsMissing", "target_modules", nullptr, "has no target_modules"),
      setting("TargetsEmpty", "target_modules", json::array(), "has no target_modules"),
      setting("TargetsNumbers", "target_modules", {1}, "is no list of names"),
      setting("TargetWithoutTensors", "target_modules", {"q_proj", "v_proj"},
              "has v_proj, of which the tensors hold nothing"),
      setting("TargetNotNamed", "target_modules", {"layers.0.self_attn.q_proj"},
              "does not name model.layers.1.self_attn.q_proj"),
      setting("RankPatternOfNothing", "rank_pattern", {{"k_proj", 4}},
              "means none of its modules"),
      setting("RankPatternOfOthers", "rank_pattern", {{"q_proj", 2}},
              "and the tensors have 4"),
      setting("PatternIsAnExpression", "alpha_pattern", {{"layers.[01].*", 4}},
              "expressions beyond names"),
      setting("PatternIsAList", "alpha_pattern", {1}, "is no object"),
      setting("SavedModuleWithoutTensors", "modules_to_save", {"lm_head"},
              "of which there are no tensors"),
      tensors("MatrixAMissing", without(0), "lacks the tensor"),
      tensors("MatrixBMissing", without(1), "lacks the tensor"),
      tensors("MatricesThatDoNotFit", reshaped(1, {kHidden, 3}),
              "do not belong together"),
      tensors("MatrixOfAnotherModel", reshaped(0, {kRank, 16}),
              "has another shape than the model's layer"),
      tensors("NameWithoutPrefix", with("q_proj.lora_A.weight", {1}),
              "does not begin with"),
      tensors("MagnitudeWithoutDora", with(kLayer + ".lora_magnitude_vector", {kHidden}),
              "holds a magnitude of"),
      [] {
        json dora = config();
        dora["use_dora"] = true;
        return folder("DoraWithoutMagnitudes", dora, tensors_of(whole()),
                      "adapter_model.safetensors", "lacks the tensor");
      }(),
      tensors("EmbeddingAdapter",
              with("base_model.model.model.embed_tokens.lora_embedding_A", {kRank, 1024}),
              "is of a kind of adapter that is not implemented"),
      {"LayerThatTheModelLacks",
       [](const Inputs& inputs) {
         Shapes shapes = whole();
         for (auto& [name, shape] : shapes) {
           const size_t at = name.find("layers.1.");
           if (at != std::string::npos) name.replace(at, 9, "layers.7.");
         }
         std::filesystem::create_directories(inputs.at("adapter"));
         inputs.write("adapter/adapter_config.json", config().dump());
         inputs.write("adapter/adapter_model.safetensors", tensors_of(shapes));
         return Arguments{"adapter.path=" + inputs.at("adapter")};
       },
       "adapter_model.safetensors", "lacks the tensor"},
      folder("RankGivenBeside", config(), tensors_of(whole()), "adapter.rank = 16",
             "differs from", {"adapter.rank=16"}),
  };
  return all;
}
LOWMEM_DAMAGES(AdapterFolders, damaged_folders());

Damage line(const std::string& name, Arguments arguments, const std::string& thing,
            const std::string& problem) {
  if (arguments.front().find("kind") == std::string::npos)
    arguments.insert(arguments.begin(), "adapter.kind=lora");
  return wrong_arguments(name, arguments, thing, problem);
}

std::vector<Damage> wrong_settings() {
  return {
      line("AdapterWithoutAKind", {"adapter.kind=none", "adapter.rank=4"},
           "adapter.rank = 4", "is not read with adapter.kind = none"),
      line("AdapterOfUnknownKind", {"adapter.kind=loha"}, "adapter.kind", "lora"),
      line("AdapterRankZero", {"adapter.rank=0"}, "adapter.rank = 0", "at least 1"),
      line("AdapterAlphaNegative", {"adapter.alpha=-1"}, "adapter.alpha = -1", ""),
      line("AdapterTargetsEmpty", {"adapter.targets=[]"}, "adapter.targets", ""),
      line("AdapterTargetOfNothing", {"adapter.targets=q_porj"},
           "adapter.targets = q_porj", "means no module of this model"),
      line("AdapterTargetIsTheHead", {"adapter.targets=embed_tokens"},
           "adapter.targets = embed_tokens", "is no linear layer of a block"),
      line("AdapterExcludesAll", {"adapter.targets=q_proj", "adapter.exclude=q_proj"},
           "adapter.targets", "leaves no layer to adapt"),
      line("AdapterExcludesNothing", {"adapter.exclude=x_proj"},
           "adapter.exclude = x_proj", "means no module"),
      line("AdapterPatternWithoutANumber", {"adapter.rank_pattern=q_proj"},
           "adapter.rank_pattern", ""),
      line("AdapterPatternOfNothing", {"adapter.alpha_pattern=x_proj=4"},
           "adapter.alpha_pattern = x_proj", "means none of the adapted layers"),
      line("AdapterPatternBesideTheTargets", {"adapter.rank_pattern=up_proj=4"},
           "adapter.rank_pattern = up_proj", "means none of the adapted layers"),
      line("AdapterExcludesByAWordOfTargets", {"adapter.exclude=all-linear"},
           "adapter.exclude = all-linear", "means no module"),
      line("AdapterKeepsWhatRoundingLoses",
           {"optimizer.rounding=kahan", "model.dtype=bf16", "model.compute_dtype=bf16"},
           "optimizer.rounding = kahan", "trains fp32 weights alone"),
      line("AdapterRankIsAShare", {"adapter.rank_pattern=q_proj=2.5"},
           "adapter.rank_pattern", "no count"),
      line("AdapterAlsoTrainsNothing", {"adapter.also_train=head"},
           "adapter.also_train = head", "means no module"),
      line("AdapterAlsoTrainsATarget", {"adapter.also_train=q_proj"},
           "adapter.also_train = model.layers.0.self_attn.q_proj",
           "is one of adapter.targets as well"),
      line("AdapterBesideTrain", {"model.train=all"}, "model.train = all",
           "is not read with adapter.kind = lora"),
      line("AdapterDropoutOfAll", {"adapter.dropout=1"}, "adapter.dropout = 1",
           "must be from 0 up to"),
      line("AdaloraThatStaysAsItIs", {"adapter.kind=adalora", "adapter.target_rank=8"},
           "adapter.target_rank = 8", "leaves nothing to take away from adapter.rank"),
      line("AdaloraLongerThanTheRows",
           {"adapter.kind=adalora", "adapter.tinit=100000", "train.max_steps=0"},
           "adapter.tinit = 100000", "has no step to bring the ranks down by"),
      line("AdaloraOfOneStep", {"adapter.kind=adalora", "train.max_steps=1"},
           "adapter.kind = adalora", "has no step to bring the ranks down by"),
      line("AdapterLrRatioZero", {"adapter.lr_ratio=0"}, "adapter.lr_ratio = 0", ""),
      line("DoubleQuantizationOfNothing", {"model.double_quantization=false"},
           "model.double_quantization = false", "is not read with model.quantize = none"),
      line("QuantizeNothing", {"adapter.kind=none", "model.quantize=nf4"},
           "model.quantize = nf4", "leaves none"),
      line("QuantizeToSomethingElse", {"model.quantize=fp4"}, "model.quantize", "nf4"),
      line("AdapterBeginsWithWhatNothingLost", {"adapter.init=loftq"},
           "adapter.init = loftq", "makes up for what model.quantize = nf4 loses"),
      line("AdapterBeginsWithWhatInt8Lost", {"adapter.init=loftq", "model.quantize=int8"},
           "adapter.init = loftq", "and it is int8"),
      line("AdapterIteratesOverNothing", {"adapter.loftq_iterations=2"},
           "adapter.loftq_iterations = 2", "is not read with adapter.init = default"),
      line("AdapterIteratesNever",
           {"adapter.init=loftq", "model.quantize=nf4", "adapter.loftq_iterations=0"},
           "adapter.loftq_iterations = 0", ""),
      line("AdapterBeginsWithAPartOfCodes", {"adapter.init=pissa", "model.quantize=nf4"},
           "adapter.init = pissa", "which codes cannot give"),
      line("AdapterBeginsWithMoreThanThereIs",
           {"adapter.init=pissa", "adapter.rank=5000"}, "adapter.rank",
           "directions to begin with"),
      line("AdapterPathOfNothing", {"adapter.path=/nowhere"}, "/nowhere",
           "holds no adapter_config.json"),
  };
}
LOWMEM_DAMAGES(AdapterSettings, wrong_settings());

}  // namespace
}  // namespace lowmem::test

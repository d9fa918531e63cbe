#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "lowmem/core/dtype.h"

// The words a configuration key may choose from, as enumerations that the rest of the
// program switches on. Each enumeration has a table of (word, value) and an overload of
// choices() that returns it; a new choice is one line in each.
namespace lowmem {

template <class Enum>
struct Choice {
  std::string_view word;  // as in the YAML file, lower case
  Enum value;
};

// A word, or a count in its place: `recompute`, or 4.
template <class Enum>
struct OrCount {
  constexpr OrCount(Enum chosen) : word(chosen) {}  // NOLINT: a word is one
  static constexpr OrCount of(int64_t number) {
    OrCount value{Enum{}};
    value.count = number;
    return value;
  }
  bool operator==(const OrCount&) const = default;

  Enum word;  // where there is no count
  std::optional<int64_t> count = std::nullopt;
};

// A word, or any other text in its place: a name or a path.
template <class Enum>
struct OrText {
  constexpr OrText(Enum chosen) : word(chosen) {}  // NOLINT: a word is one
  static OrText of(const std::string& text) {
    OrText value{Enum{}};
    value.text = text;
    return value;
  }
  bool operator==(const OrText&) const = default;

  Enum word;              // where there is no text
  std::string text = {};  // not empty where there is one
};

// What word_of() and the loader accept: a type with a choices() overload.
template <class Enum>
concept ChoiceEnum = requires(Enum value) {
  choices(value).front().word;
};

// model.dtype, model.compute_dtype
inline constexpr Choice<DType> kDTypes[] = {{"fp32", DType::kF32},
                                            {"bf16", DType::kBF16}};
constexpr std::span<const Choice<DType>> choices(DType) { return kDTypes; }

// model.attention_span
enum class AttentionSpan { kFull, kShifted };
inline constexpr Choice<AttentionSpan> kAttentionSpans[] = {
    {"full", AttentionSpan::kFull}, {"shifted", AttentionSpan::kShifted}};
constexpr std::span<const Choice<AttentionSpan>> choices(AttentionSpan) {
  return kAttentionSpans;
}

// model.quantize
enum class QuantizeMode { kNone, kInt8, kNf4 };
inline constexpr Choice<QuantizeMode> kQuantizeModes[] = {{"none", QuantizeMode::kNone},
                                                          {"int8", QuantizeMode::kInt8},
                                                          {"nf4", QuantizeMode::kNf4}};
constexpr std::span<const Choice<QuantizeMode>> choices(QuantizeMode) {
  return kQuantizeModes;
}

// adapter.kind
enum class AdapterKind { kNone, kLora, kDora, kAdalora };
inline constexpr Choice<AdapterKind> kAdapterKinds[] = {
    {"none", AdapterKind::kNone},
    {"lora", AdapterKind::kLora},
    {"dora", AdapterKind::kDora},
    {"adalora", AdapterKind::kAdalora}};
constexpr std::span<const Choice<AdapterKind>> choices(AdapterKind) {
  return kAdapterKinds;
}

// adapter.init
enum class AdapterInit { kDefault, kGaussian, kPissa, kOlora, kLoftq };
inline constexpr Choice<AdapterInit> kAdapterInits[] = {
    {"default", AdapterInit::kDefault},
    {"gaussian", AdapterInit::kGaussian},
    {"pissa", AdapterInit::kPissa},
    {"olora", AdapterInit::kOlora},
    {"loftq", AdapterInit::kLoftq}};
constexpr std::span<const Choice<AdapterInit>> choices(AdapterInit) {
  return kAdapterInits;
}

// adapter.target_rank, or a number
enum class TargetRank { kAuto };
inline constexpr Choice<TargetRank> kTargetRanks[] = {{"auto", TargetRank::kAuto}};
constexpr std::span<const Choice<TargetRank>> choices(TargetRank) { return kTargetRanks; }

// data.format, eval.format
enum class DataFormat { kAuto, kHellaSwag, kText, kPromptCompletion, kChat };
inline constexpr Choice<DataFormat> kDataFormats[] = {
    {"auto", DataFormat::kAuto},
    {"hellaswag", DataFormat::kHellaSwag},
    {"text", DataFormat::kText},
    {"prompt_completion", DataFormat::kPromptCompletion},
    {"chat", DataFormat::kChat}};
constexpr std::span<const Choice<DataFormat>> choices(DataFormat) { return kDataFormats; }

// data.chat_template
enum class ChatTemplate { kAuto, kLlama2, kLlama3, kTinyLlama, kChatMl, kMistral };
inline constexpr Choice<ChatTemplate> kChatTemplates[] = {
    {"auto", ChatTemplate::kAuto},     {"llama2", ChatTemplate::kLlama2},
    {"llama3", ChatTemplate::kLlama3}, {"tinyllama", ChatTemplate::kTinyLlama},
    {"chatml", ChatTemplate::kChatMl}, {"mistral", ChatTemplate::kMistral}};
constexpr std::span<const Choice<ChatTemplate>> choices(ChatTemplate) {
  return kChatTemplates;
}

// data.long
enum class LongMode { kAuto, kSplit, kTruncate, kDrop };
inline constexpr Choice<LongMode> kLongModes[] = {{"auto", LongMode::kAuto},
                                                  {"split", LongMode::kSplit},
                                                  {"truncate", LongMode::kTruncate},
                                                  {"drop", LongMode::kDrop}};
constexpr std::span<const Choice<LongMode>> choices(LongMode) { return kLongModes; }

// data.on_bad_row
enum class BadRowMode { kStop, kSkip };
inline constexpr Choice<BadRowMode> kBadRowModes[] = {{"stop", BadRowMode::kStop},
                                                      {"skip", BadRowMode::kSkip}};
constexpr std::span<const Choice<BadRowMode>> choices(BadRowMode) { return kBadRowModes; }

// optimizer.name
enum class OptimizerKind { kAdam, kAdamW, kAdafactor, kSgd };
inline constexpr Choice<OptimizerKind> kOptimizerKinds[] = {
    {"adam", OptimizerKind::kAdam},
    {"adamw", OptimizerKind::kAdamW},
    {"adafactor", OptimizerKind::kAdafactor},
    {"sgd", OptimizerKind::kSgd}};
constexpr std::span<const Choice<OptimizerKind>> choices(OptimizerKind) {
  return kOptimizerKinds;
}

// optimizer.state_dtype
enum class StateType { kF32, kBF16, kInt8 };
inline constexpr Choice<StateType> kStateTypes[] = {
    {"fp32", StateType::kF32}, {"bf16", StateType::kBF16}, {"int8", StateType::kInt8}};
constexpr std::span<const Choice<StateType>> choices(StateType) { return kStateTypes; }
// Of an average, an element; of int8 with its share of a block's scale.
constexpr double bytes_of(StateType type) {
  return type == StateType::kF32 ? 4 : type == StateType::kBF16 ? 2 : 1 + 4.0 / 256;
}

// optimizer.rounding
enum class RoundingMode { kStochastic, kNearest, kKahan };
inline constexpr Choice<RoundingMode> kRoundingModes[] = {
    {"stochastic", RoundingMode::kStochastic},
    {"nearest", RoundingMode::kNearest},
    {"kahan", RoundingMode::kKahan}};
constexpr std::span<const Choice<RoundingMode>> choices(RoundingMode) {
  return kRoundingModes;
}

// optimizer.schedule
enum class ScheduleKind { kConstant, kLinear, kCosine };
inline constexpr Choice<ScheduleKind> kScheduleKinds[] = {
    {"constant", ScheduleKind::kConstant},
    {"linear", ScheduleKind::kLinear},
    {"cosine", ScheduleKind::kCosine}};
constexpr std::span<const Choice<ScheduleKind>> choices(ScheduleKind) {
  return kScheduleKinds;
}

// optimizer.clip_mode
enum class ClipMode { kOnePass, kTwoPass };
inline constexpr Choice<ClipMode> kClipModes[] = {{"one_pass", ClipMode::kOnePass},
                                                  {"two_pass", ClipMode::kTwoPass}};
constexpr std::span<const Choice<ClipMode>> choices(ClipMode) { return kClipModes; }

// train.on_nonfinite
enum class NonfiniteMode { kStop, kSkip };
inline constexpr Choice<NonfiniteMode> kNonfiniteModes[] = {
    {"stop", NonfiniteMode::kStop}, {"skip", NonfiniteMode::kSkip}};
constexpr std::span<const Choice<NonfiniteMode>> choices(NonfiniteMode) {
  return kNonfiniteModes;
}

// memory.activations
enum class ActivationsMode { kKeep, kRecompute };
inline constexpr Choice<ActivationsMode> kActivationsModes[] = {
    {"keep", ActivationsMode::kKeep}, {"recompute", ActivationsMode::kRecompute}};
constexpr std::span<const Choice<ActivationsMode>> choices(ActivationsMode) {
  return kActivationsModes;
}

// memory.weights
enum class WeightsMode { kResident, kHost, kDisk };
inline constexpr Choice<WeightsMode> kWeightsModes[] = {
    {"resident", WeightsMode::kResident},
    {"host", WeightsMode::kHost},
    {"disk", WeightsMode::kDisk}};
constexpr std::span<const Choice<WeightsMode>> choices(WeightsMode) {
  return kWeightsModes;
}

// memory.states
enum class StatesMode { kWithWeights, kDevice, kHost, kDisk };
inline constexpr Choice<StatesMode> kStatesModes[] = {
    {"with_weights", StatesMode::kWithWeights},
    {"device", StatesMode::kDevice},
    {"host", StatesMode::kHost},
    {"disk", StatesMode::kDisk}};
constexpr std::span<const Choice<StatesMode>> choices(StatesMode) { return kStatesModes; }

// memory.kept
enum class KeptMode { kDevice, kHost, kDisk };
inline constexpr Choice<KeptMode> kKeptModes[] = {
    {"device", KeptMode::kDevice}, {"host", KeptMode::kHost}, {"disk", KeptMode::kDisk}};
constexpr std::span<const Choice<KeptMode>> choices(KeptMode) { return kKeptModes; }

// memory.gradients
enum class GradientsMode { kAccumulate, kUpdate };
inline constexpr Choice<GradientsMode> kGradientsModes[] = {
    {"accumulate", GradientsMode::kAccumulate}, {"update", GradientsMode::kUpdate}};
constexpr std::span<const Choice<GradientsMode>> choices(GradientsMode) {
  return kGradientsModes;
}

// memory.attention
enum class AttentionMode { kAuto, kFlash, kCudnn, kMath };
inline constexpr Choice<AttentionMode> kAttentionModes[] = {
    {"auto", AttentionMode::kAuto},
    {"flash", AttentionMode::kFlash},
    {"cudnn", AttentionMode::kCudnn},
    {"math", AttentionMode::kMath}};
constexpr std::span<const Choice<AttentionMode>> choices(AttentionMode) {
  return kAttentionModes;
}

// memory.device
enum class DeviceMode { kAuto, kCpu, kCuda };
inline constexpr Choice<DeviceMode> kDeviceModes[] = {
    {"auto", DeviceMode::kAuto}, {"cpu", DeviceMode::kCpu}, {"cuda", DeviceMode::kCuda}};
constexpr std::span<const Choice<DeviceMode>> choices(DeviceMode) { return kDeviceModes; }

// memory.cuda_graphs
enum class GraphsMode { kAuto, kTrue, kFalse };
inline constexpr Choice<GraphsMode> kGraphsModes[] = {{"auto", GraphsMode::kAuto},
                                                      {"true", GraphsMode::kTrue},
                                                      {"false", GraphsMode::kFalse}};
constexpr std::span<const Choice<GraphsMode>> choices(GraphsMode) { return kGraphsModes; }

// eval.bos
enum class BosMode { kTokenizer, kTrue, kFalse };
inline constexpr Choice<BosMode> kBosModes[] = {{"tokenizer", BosMode::kTokenizer},
                                                {"true", BosMode::kTrue},
                                                {"false", BosMode::kFalse}};
constexpr std::span<const Choice<BosMode>> choices(BosMode) { return kBosModes; }

// The word of a value, for messages and files: word_of(OptimizerKind::kSgd) is "sgd".
// Empty for a value without a word (a DType that the configuration does not offer).
template <ChoiceEnum Enum>
constexpr std::string_view word_of(Enum value) {
  for (const Choice<Enum>& choice : choices(value))
    if (choice.value == value) return choice.word;
  return {};
}

}  // namespace lowmem

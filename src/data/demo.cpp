#include "lowmem/data/demo.h"

#include <nlohmann/json.hpp>
#include <set>

#include "data/demo_rows.h"
#include "tokenizer/byte_level.h"

namespace lowmem {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kBos = "<s>";
constexpr const char* kEos = "</s>";

// Llama-3's.
constexpr const char* kPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// BOS, EOS, the 256 bytes, then the demo's words. With `ignore_merges` a word of the
// vocabulary is one token without any merge; every other text is spelt in bytes.
Json vocabulary() {
  Json vocab = {{kBos, 0}, {kEos, 1}};
  const auto add = [&](const std::string& piece) { vocab.emplace(piece, vocab.size()); };
  for (int byte = 0; byte < 256; ++byte)
    add(tokenization::alphabet_of_byte(static_cast<unsigned char>(byte)));
  for (const std::string& word : demo::words()) {
    std::string piece;
    for (const char c : word)
      piece += tokenization::alphabet_of_byte(static_cast<unsigned char>(c));
    add(piece);
  }
  return vocab;
}

Json special_token(const char* text, int id) {
  return {{"id", id},        {"content", text}, {"single_word", false},
          {"lstrip", false}, {"rstrip", false}, {"normalized", false},
          {"special", true}};
}

Json part(const char* kind, const char* id, int type) {
  return {{kind, {{"id", id}, {"type_id", type}}}};
}

Json tokenizer(const Json& vocab) {
  const Json bos = part("SpecialToken", kBos, 0);
  const Json a = part("Sequence", "A", 0);
  const Json b = part("Sequence", "B", 1);
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", Json::array({special_token(kBos, 0), special_token(kEos, 1)})},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers", Json::array({{{"type", "Split"},
                                            {"pattern", {{"Regex", kPattern}}},
                                            {"behavior", "Isolated"},
                                            {"invert", false}},
                                           {{"type", "ByteLevel"},
                                            {"add_prefix_space", false},
                                            {"trim_offsets", true},
                                            {"use_regex", false}}})}}},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single", Json::array({bos, a})},
            {"pair", Json::array({bos, a, part("SpecialToken", kBos, 1), b})},
            {"special_tokens",
             {{kBos,
               {{"id", kBos},
                {"ids", Json::array({0})},
                {"tokens", Json::array({kBos})}}}}}}},
          {"decoder",
           {{"type", "ByteLevel"},
            {"add_prefix_space", true},
            {"trim_offsets", true},
            {"use_regex", true}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", true},
            {"vocab", vocab},
            {"merges", Json::array()}}}};
}

Json tokenizer_config() {
  return {{"tokenizer_class", "PreTrainedTokenizerFast"},
          {"bos_token", kBos},
          {"eos_token", kEos},
          {"add_bos_token", true},
          {"add_eos_token", false},
          {"clean_up_tokenization_spaces", false},
          {"model_max_length", 256}};
}

Json model_config(size_t vocab_size) {
  return {{"architectures", Json::array({"LlamaForCausalLM"})},
          {"model_type", "llama"},
          {"vocab_size", vocab_size},
          {"hidden_size", 96},
          {"intermediate_size", 192},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 6},
          {"num_key_value_heads", 2},
          {"head_dim", 16},
          {"hidden_act", "silu"},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"max_position_embeddings", 256},
          {"tie_word_embeddings", true},
          {"attention_bias", false},
          {"mlp_bias", false},
          {"initializer_range", 0.08},
          {"bos_token_id", 0},
          {"eos_token_id", 1},
          {"torch_dtype", "float32"}};
}

}  // namespace

std::vector<DemoFile> demo_files(uint64_t seed, DemoSize size) {
  const Json vocab = vocabulary();
  demo::Splits splits = demo::write_rows(seed, size.train_rows, size.val_rows);
  return {{"train.jsonl", std::move(splits.train)},
          {"val.jsonl", std::move(splits.val)},
          {"model/config.json", model_config(vocab.size()).dump(2) + "\n"},
          {"model/tokenizer.json", tokenizer(vocab).dump(2) + "\n"},
          {"model/tokenizer_config.json", tokenizer_config().dump(2) + "\n"}};
}

}  // namespace lowmem

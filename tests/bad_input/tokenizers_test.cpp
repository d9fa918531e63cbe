// The tokenizer's files: tokenizer.json, both kinds of tokenizer.model, and what the
// other files of the folder say of special tokens.
#include <sstream>

#include "bad_input/damaged.h"

namespace lowmem::test {
namespace {

using nlohmann::json;

constexpr const char* kJson = "model/tokenizer.json";
constexpr const char* kModel = "model/tokenizer.model";

// The demo's tokenizer.json: byte-level BPE.
Damage demo(const std::string& name, std::function<void(json&)> edit,
            const std::string& thing, const std::string& problem) {
  return damaged_json(name, kJson, std::move(edit), "tokenizer.json" + thing, problem);
}

// The same of another fixture's tokenizer.json.
Damage other(const std::string& fixture, const std::string& name,
             std::function<void(json&)> edit, const std::string& thing,
             const std::string& problem) {
  Damage damage = demo(name, std::move(edit), thing, problem);
  damage.make = [fixture, make = damage.make](const Inputs& inputs) {
    inputs.take_tokenizer(fixture);
    return make(inputs);
  };
  return damage;
}

json sequence(const char* key, int depth) {
  json field = {{"type", "Sequence"}, {key, json::array()}};
  for (int i = 0; i < depth; ++i) field = {{"type", "Sequence"}, {key, {field}}};
  return field;
}

std::vector<Damage> damaged_tokenizer_json() {
  const std::string bpe = "llama2_style";
  return {
      {"TokenizerMissing",
       [](const Inputs& inputs) {
         inputs.remove(kJson);
         return Arguments();
       },
       "/model", "has neither tokenizer.json nor tokenizer.model"},
      {"TokenizerIsAFolder",
       [](const Inputs& inputs) {
         inputs.remove(kJson);
         std::filesystem::create_directory(inputs.at(kJson));
         return Arguments();
       },
       kJson, "is a folder"},
      {"TokenizerIsAPipe",
       [](const Inputs& inputs) {
         inputs.make_pipe(kJson);
         return Arguments();
       },
       kJson, "is a pipe, device or socket"},
      damaged_file("TokenizerEmpty", kJson, "", "tokenizer.json line 1",
                   "is not valid JSON"),
      damaged_file("TokenizerOfBrackets", kJson, std::string(10'000'000, '['), kJson,
                   "is nested deeper than 64"),
      {"TokenizerCutShort",
       [](const Inputs& inputs) {
         inputs.write(kJson, inputs.read(kJson).substr(0, 400));
         return Arguments();
       },
       "tokenizer.json line ", "is not valid JSON"},
      demo(
          "ModelOfTokenizerMissing", [](json& j) { j.erase("model"); }, "",
          "has no \"model\""),
      demo(
          "Unigram", [](json& j) { j["model"]["type"] = "Unigram"; }, " model",
          "the model Unigram is not implemented"),
      demo(
          "IdIs2To64", [](json& j) { j["model"]["vocab"]["!"] = UINT64_MAX; },
          " model.vocab.!", "outside 0 to"),
      demo(
          "IdTwice", [](json& j) { j["model"]["vocab"]["!"] = 1; }, " model.vocab",
          "gives the id 1 to both"),
      other(
          bpe, "MergesAreAnObject",
          [](json& j) { j["model"]["merges"] = json::object(); }, " model.merges",
          "is not a list"),
      other(
          bpe, "MergeOfUnknownToken", [](json& j) { j["model"]["merges"][2] = "xq zz"; },
          " model.merges[2]", "names the piece \"xq\", which the vocabulary lacks"),
      other(
          bpe, "MergeToUnknownToken", [](json& j) { j["model"]["merges"][0] = "e e"; },
          " model.merges[0]", "names the piece \"ee\", which the vocabulary lacks"),
      other(
          bpe, "MergeOfThree", [](json& j) { j["model"]["merges"][1] = "a b c"; },
          " model.merges[1]", "is not a pair of pieces"),
      other(
          bpe, "UnknownTokenUnknown",
          [](json& j) {
            j["model"]["byte_fallback"] = false;
            j["model"]["unk_token"] = "<nothing>";
            j["model"]["vocab"].erase("T");
          },
          " model", "which the vocabulary lacks"),
      other(
          "word_level", "WordWithoutAnId",
          [](json& j) { j["model"]["unk_token"] = "<nothing>"; }, " model.vocab",
          "has neither the word"),
      demo(
          "NormalizerUnknown",
          [](json& j) {
            j["normalizer"] = {{"type", "NFKC"}};
          },
          " normalizer", "the normalizer NFKC is not implemented"),
      demo(
          "NormalizersTooDeep",
          [](json& j) { j["normalizer"] = sequence("normalizers", 20); }, " normalizer",
          "a sequence so deep"),
      demo(
          "NormalizersThatGrowTheText",
          [](json& j) {
            json steps = json::array();
            for (int i = 0; i < 60; ++i)
              steps.push_back({{"type", "Replace"},
                               {"pattern", {{"String", "a"}}},
                               {"content", "aa"}});
            j["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
          },
          " normalizer", "more than"),
      demo(
          "PatternNotClosed",
          [](json& j) {
            j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a";
          },
          " pre_tokenizer.pretokenizers[0].pattern", "is not a valid regular expression"),
      demo(
          "PatternOfManySteps",
          [](json& j) {
            j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] =
                "([a-z ]+)+[0-9]";
          },
          " pre_tokenizer.pretokenizers[0].pattern", "takes too many steps"),
      demo(
          "PatternOfBrackets",
          [](json& j) {
            j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] =
                std::string(100'000, '(') + "a" + std::string(100'000, ')');
          },
          " pre_tokenizer.pretokenizers[0].pattern", "regular expression"),
      demo(
          "DecoderUnknown",
          [](json& j) {
            j["decoder"] = {{"type", "CTC"}};
          },
          "", "is not implemented"),
      demo(
          "PostProcessorUnknown",
          [](json& j) { j["post_processor"]["type"] = "BertProcessing"; },
          " post_processor", "the post-processor BertProcessing is not implemented"),
      demo(
          "LeadingTokenUnknown",
          [](json& j) { j["post_processor"]["special_tokens"]["<s>"]["ids"][0] = 9999; },
          " post_processor", "names the id 9999, which the vocabulary lacks"),
      demo(
          "AddedTokenWithoutId", [](json& j) { j["added_tokens"][0].erase("id"); },
          " added_tokens[0]", "has no \"id\""),
      demo(
          "AddedTokenOfAnotherId", [](json& j) { j["added_tokens"][0]["id"] = 7; },
          " added_tokens[0]", "where the vocabulary makes it 0"),
      damaged_json(
          "NoPieces", kJson,
          [](json& j) {
            j["model"]["vocab"] = json::object();
            j["added_tokens"] = json::array();
            j["post_processor"] = nullptr;
          },
          "tokenizer_config.json bos_token", "which the vocabulary lacks"),
  };
}
LOWMEM_DAMAGES(TokenizerJson, damaged_tokenizer_json());

// Meta's tokenizer.model, lines of a base64 piece and its rank.
Damage tiktoken(const std::string& name,
                std::function<void(std::vector<std::string>&)> edit,
                const std::string& thing, const std::string& problem) {
  const auto make = [edit](const Inputs& inputs) {
    inputs.take_tokenizer("tiktoken");
    std::istringstream in(inputs.read(kModel));
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    edit(lines);
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    inputs.write(kModel, text);
    return Arguments();
  };
  return {name, make, "tokenizer.model" + thing, problem};
}

using Lines = std::vector<std::string>;

std::vector<Damage> damaged_tiktoken() {
  const std::string neither = "is neither a SentencePiece model nor a tiktoken file";
  const std::string not_pair = "is not a base64 piece and its rank";
  return {
      tiktoken(
          "ModelEmpty", [](Lines& lines) { lines.clear(); }, "", "is empty"),
      tiktoken(
          "ModelIsJson", [](Lines& lines) { lines = {"{}"}; }, "", neither),
      tiktoken(
          "Base64Damaged", [](Lines& lines) { lines[9] = "I*== 9"; }, " line 10",
          not_pair),
      tiktoken(
          "RankMissingOnALine", [](Lines& lines) { lines[9] = "Kg=="; }, " line 10",
          not_pair),
      tiktoken(
          "RankHuge", [](Lines& lines) { lines[9] = "Kg== 999999999"; }, " line 10",
          "has the rank 999999999, outside 0 to"),
      tiktoken(
          "RankTwice", [](Lines& lines) { lines[9].back() = '8'; }, " line 10",
          "has the rank 8 of an earlier line"),
      tiktoken(
          "PieceTwice", [](Lines& lines) { lines[9] = "IQ== 9"; }, " line 10",
          "repeats the piece of an earlier line"),
      tiktoken(
          "RankMissing", [](Lines& lines) { lines.erase(lines.begin() + 300); }, "",
          "lacks the rank 300"),
      tiktoken(
          "ByteMissing", [](Lines& lines) { lines[0] = "///////8 0"; }, "",
          "has no piece for the single byte 33"),
  };
}
LOWMEM_DAMAGES(Tiktoken, damaged_tiktoken());

// SentencePiece's tokenizer.model, a protobuf message.
Damage sentencepiece(const std::string& name, std::function<void(std::string&)> edit,
                     const std::string& problem) {
  const auto make = [edit](const Inputs& inputs) {
    inputs.take_tokenizer("sentencepiece");
    std::string bytes = inputs.read(kModel);
    edit(bytes);
    inputs.write(kModel, bytes);
    return Arguments();
  };
  return {name, make, kModel, problem};
}

std::vector<Damage> damaged_sentencepiece() {
  const std::string invalid = "is not a valid SentencePiece model";
  return {
      sentencepiece(
          "ProtobufCutShort", [](auto& bytes) { bytes.resize(3001); }, invalid),
      sentencepiece(
          "ProtobufOfALineFeed", [](auto& bytes) { bytes = "\n"; }, invalid),
      sentencepiece(
          "ProtobufLengthDamaged", [](auto& bytes) { bytes[1] = '\x7F'; }, invalid),
      sentencepiece(
          "ProtobufOfZeros",
          [](auto& bytes) { std::fill(bytes.begin() + 1, bytes.end(), '\0'); }, invalid),
      sentencepiece(
          "ProtobufLengthIsHuge", [](auto& bytes) { bytes = "\n\xFF\xFF\xFF\xFF\x07"; },
          invalid),
      // The first piece, <unk>, becomes an ordinary one.
      sentencepiece(
          "NoUnknownPiece",
          [](auto& bytes) {
            const size_t type = bytes.find("<unk>") + 11;
            bytes[type] = '\x01';
          },
          invalid),
  };
}
LOWMEM_DAMAGES(SentencePiece, damaged_sentencepiece());

// Which tokens are special.
Damage settings(const std::string& name, std::function<void(json&)> edit,
                const std::string& key, const std::string& problem) {
  return damaged_json(name, "model/tokenizer_config.json", std::move(edit),
                      "tokenizer_config.json" + key, problem);
}

std::vector<Damage> damaged_settings() {
  return {
      damaged_file("SettingsNotJson", "model/tokenizer_config.json", "{",
                   "tokenizer_config.json line 1", "is not valid JSON"),
      settings(
          "EosUnknown", [](json& j) { j["eos_token"] = "</end>"; }, " eos_token",
          "is \"</end>\", which the vocabulary lacks"),
      damaged_json(
          "BosIsAnother", "model/tokenizer_config.json",
          [](json& j) { j["bos_token"] = "</s>"; }, "tokenizer.json post_processor",
          "but the folder's BOS is 1"),
      settings(
          "AddBosIsText", [](json& j) { j["add_bos_token"] = "yes"; }, " add_bos_token",
          "is not true or false"),
      settings(
          "AddedTokenOfTextId",
          [](json& j) {
            j["added_tokens_decoder"]["two"] = {{"content", "x"}};
          },
          " added_tokens_decoder.two", "has a key that is not an id"),
      settings(
          "AddedTokenIdHuge",
          [](json& j) {
            j["added_tokens_decoder"]["4000000000"] = {{"content", "x"}};
          },
          " added_tokens_decoder", "outside 0 to"),
      {"NoEos",
       [](const Inputs& inputs) {
         inputs.write("model/tokenizer_config.json", "{}");
         json config = inputs.json("model/config.json");
         config.erase("eos_token_id");
         inputs.write("model/config.json", config.dump());
         return Arguments();
       },
       "the tokenizer", "names no EOS"},
      {"GenerationIdUnknown",
       [](const Inputs& inputs) {
         inputs.write("model/tokenizer_config.json", "{}");
         inputs.write("model/generation_config.json", "{\"eos_token_id\": [5000]}");
         return Arguments();
       },
       "generation_config.json eos_token_id[0]", "is 5000, where the vocabulary has"},
      damaged_file("AddedTokensFileIsAList", "model/added_tokens.json", "[\"<x>\"]",
                   "added_tokens.json", "is not an object"),
      damaged_json(
          "VocabularyOfModelTooSmall", "model/config.json",
          [](json& j) { j["vocab_size"] = 100; }, ".jsonl line 1",
          ", and config.json's vocab_size is 100"),
  };
}
LOWMEM_DAMAGES(SpecialTokens, damaged_settings());

}  // namespace
}  // namespace lowmem::test

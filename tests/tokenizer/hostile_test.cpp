// Tokenizer files made to hurt: time and memory stay in proportion, and no library reads
// what is not its own.

#include <gmock/gmock.h>

#include <chrono>
#include <functional>

#include "tokenizer/expected.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Error error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no Error";
  return Error("", "", "");
}

json split_on(const json& pattern) {
  return {{"type", "Split"},
          {"pattern", pattern},
          {"behavior", "Isolated"},
          {"invert", false}};
}

// The word_level fixture with another part of it.
TemporaryFolder& write_with(TemporaryFolder& folder, const char* key, const json& part) {
  json file = tokenizer_file("word_level");
  file[key] = part;
  return folder.write("tokenizer.json", file);
}

Error error_with(const char* key, const json& part) {
  TemporaryFolder folder;
  return write_with(folder, key, part).error();
}

double seconds_of(const std::function<void()>& call) {
  const auto start = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(HostilePattern, TakesNoMoreTimeThanTheTextHasLength) {
  // Each costs far more than it looks: the first in steps, at every place anew; the
  // second in characters that its lookahead passes over, which are no steps.
  for (const auto& [pattern, length] :
       {std::pair{"(?:[a-z]?){20}[XY]", 20000}, std::pair{"(?=.*y)x", 200000}}) {
    TemporaryFolder folder;
    write_with(folder, "pre_tokenizer", split_on({{"Regex", pattern}}));
    const auto tokenizer = folder.open();
    const std::string text(static_cast<size_t>(length), 'x');
    const double seconds = seconds_of([&] {
      EXPECT_THAT(error_of([&] { tokenizer->encode(text); }).problem(),
                  HasSubstr("takes too many steps"))
          << pattern;
    });
    EXPECT_LT(seconds, 20) << pattern;
  }
}

TEST(HostilePattern, IsFoundAtEveryPlaceOfALongTextWithoutMatches) {
  TemporaryFolder folder;
  json file = tokenizer_file("word_level");
  file["pre_tokenizer"] = split_on({{"Regex", "[0-9]"}});
  file["model"] = {
      {"type", "WordLevel"}, {"unk_token", "?"}, {"vocab", {{"?", 0}, {"7", 1}}}};
  file.erase("added_tokens");
  file.erase("post_processor");
  folder.write("tokenizer.json", file);
  const auto tokenizer = folder.open();
  // Characters of one to four bytes, so that every distance to a match comes up.
  for (size_t letters = 0; letters < 80; ++letters)
    for (const char* letter : {"a", "é", "漢", "😀"}) {
      std::string text;
      for (size_t i = 0; i < letters; ++i) text += letter;
      const auto ids = tokenizer->encode(text + "7" + text + "7");
      EXPECT_EQ(ids, letters == 0 ? std::vector<int32_t>({1, 1})
                                  : std::vector<int32_t>({0, 1, 0, 1}))
          << letters << letter;
    }
}

TEST(HostilePattern, IsNoLongerThan4096Bytes) {
  EXPECT_THAT(error_with("pre_tokenizer", split_on({{"Regex", std::string(4097, 'a')}}))
                  .problem(),
              HasSubstr("a regular expression of 4097 bytes"));
  EXPECT_THAT(
      error_with("pre_tokenizer", split_on({{"String", std::string(8 << 20, 'a')}}))
          .problem(),
      HasSubstr("is not a valid regular expression"));
  // Each \p{L} becomes hundreds of bytes, each repetition a copy.
  std::string nested = "\\p{L}";
  for (int i = 0; i < 6; ++i) nested = "(?:" + nested + "){1000}";
  EXPECT_THAT(error_with("pre_tokenizer", split_on({{"Regex", nested}})).problem(),
              HasSubstr("is not a valid regular expression"));
}

TEST(HostileTokenizerJson, HasNoMoreThan64Steps) {
  const auto sequence = [](const char* key, const json& step) {
    return json{{"type", "Sequence"}, {key, json(std::vector<json>(65, step))}};
  };
  const json replace = {
      {"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", ""}};
  EXPECT_THAT(error_with("normalizer", sequence("normalizers", replace)).problem(),
              HasSubstr("a sequence so long"));
  EXPECT_THAT(error_with("decoder", sequence("decoders", replace)).problem(),
              HasSubstr("a sequence so long"));
  EXPECT_THAT(error_with("pre_tokenizer",
                         sequence("pretokenizers", {{"type", "WhitespaceSplit"}}))
                  .problem(),
              HasSubstr("a sequence so long"));
}

TEST(HostileTokenizerJson, ANormalizerThatDoublesItsTextFillsNoMemory) {
  const json step = {
      {"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  TemporaryFolder folder;
  write_with(folder, "normalizer",
             {{"type", "Sequence"}, {"normalizers", json(std::vector<json>(60, step))}});
  const auto tokenizer = folder.open();
  EXPECT_THAT(error_of([&] { tokenizer->encode("a"); }).problem(),
              HasSubstr("makes more than"));
}

TEST(HostileTokenizerJson, ADecoderThatDoublesItsTextFillsNoMemory) {
  const auto doubling = [](size_t times, const std::string& content) {
    const json step = {
        {"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", content}};
    return json{{"type", "Sequence"}, {"decoders", json(std::vector<json>(times, step))}};
  };
  EXPECT_THAT(error_with("decoder", doubling(1, std::string(257, 'a'))).problem(),
              HasSubstr("a replacement so long"));
  TemporaryFolder folder;
  json file = tokenizer_file("word_level");
  file["model"]["vocab"] = {{"a", 0}};
  file["model"]["unk_token"] = "a";
  file["decoder"] = doubling(60, "aa");
  file.erase("added_tokens");
  file.erase("post_processor");
  folder.write("tokenizer.json", file);
  const auto tokenizer = folder.open();
  EXPECT_THAT(error_of([&] { tokenizer->decode({0}); }).problem(),
              HasSubstr("makes more than"));
}

TEST(HostileFolder, AHundredThousandAddedTokensOpenInSeconds) {
  json added;
  for (int i = 0; i < 100000; ++i) added["<token " + std::to_string(i) + ">"] = 1000 + i;
  TemporaryFolder folder;
  folder.write("tokenizer.json", tokenizer_file("word_level"))
      .write("added_tokens.json", added);
  EXPECT_LT(seconds_of([&] { folder.open(); }), 10);
}

TEST(HostileFolder, NestingIsRefusedInEveryFile) {
  const std::string nested = std::string(100000, '[') + std::string(100000, ']');
  for (const char* name :
       {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "generation_config.json", "config.json", "tokenizer.json"}) {
    TemporaryFolder folder;
    folder.write("tokenizer.json", tokenizer_file("word_level")).write_text(name, nested);
    const Error error = folder.error();
    EXPECT_THAT(error.thing(), HasSubstr(name));
    EXPECT_THAT(error.problem(), HasSubstr("nested deeper"));
  }
}

TEST(HostileFolder, FilesLargerThanAnyTokenizerAreNotRead) {
  for (const auto& [name, bytes] :
       {std::pair{"tokenizer.json", 128 << 20}, std::pair{"tokenizer.model", 32 << 20}}) {
    TemporaryFolder folder;
    folder.write_text(name, "{");
    std::filesystem::resize_file(folder.path() / name, static_cast<uintmax_t>(bytes) + 1);
    EXPECT_THAT(folder.error().problem(), HasSubstr("such a file may have")) << name;
  }
}

TEST(HostileFolder, ALinkToItselfIsAnErrorThatNamesIt) {
  for (const char* name :
       {"tokenizer.json", "tokenizer.model", "tokenizer_config.json"}) {
    TemporaryFolder folder;
    folder.write("tokenizer.json", tokenizer_file("word_level"));
    std::filesystem::remove(folder.path() / name);
    std::filesystem::create_symlink(name, folder.path() / name);
    if (name == std::string("tokenizer.model"))
      std::filesystem::remove(folder.path() / "tokenizer.json");
    EXPECT_THAT(folder.error().thing(), HasSubstr(name));
  }
}

// --- SentencePiece --------------------------------------------------------------------

std::string little_endian(uint32_t value) {
  std::string bytes;
  for (int shift = 0; shift < 32; shift += 8)
    bytes += static_cast<char>(value >> shift & 0xFF);
  return bytes;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

std::string field(int number, const std::string& bytes) {
  return static_cast<char>(number << 3 | 2) + varint(bytes.size()) + bytes;
}

// A node of the trie, by the rules of Darts-clone: the byte that leads to it, how far its
// children are, and whether the child 0 is its value.
uint32_t node(unsigned char label, uint32_t offset, bool has_value) {
  return label | offset << 10 | (has_value ? 0x100u : 0u);
}

// A map whose trie has 512 nodes of no label that a text could reach, but for `nodes`.
std::string character_map(const std::vector<std::pair<size_t, uint32_t>>& nodes,
                          const std::string& texts) {
  std::vector<uint32_t> units(512, 0x80000000u);
  for (const auto& [at, unit] : nodes) units[at] = unit;
  std::string map = little_endian(2048);
  for (const uint32_t unit : units) map += little_endian(unit);
  return map + texts;
}

// The fixture's model, whose own map is empty, with `map`.
TemporaryFolder& write_with_map(TemporaryFolder& folder, const std::string& map) {
  return folder.write_text(
      "tokenizer.model", read_file(fixture("tokenizers/sentencepiece/tokenizer.model")) +
                             field(3, field(2, map)));
}

TEST(HostileSentencePiece, AMapIsTaken) {
  TemporaryFolder folder;
  // The children of 'a' are at 384, the first of them its value: the text at byte 0.
  const std::string map = character_map({{0, node(0, 256, false)},
                                         {256 ^ 'a', node('a', (256 ^ 'a') ^ 384u, true)},
                                         {384, 0x80000000u}},
                                        std::string("b\0", 2));
  write_with_map(folder, map);
  const auto mapped = folder.open();
  TemporaryFolder plain;
  plain.write_text("tokenizer.model",
                   read_file(fixture("tokenizers/sentencepiece/tokenizer.model")));
  EXPECT_EQ(mapped->encode("cab"), plain.open()->encode("cbb"));
  EXPECT_NE(mapped->encode("cab"), plain.open()->encode("cab"));
}

struct DamagedMap {
  const char* name;
  std::string map;
};

class HostileCharacterMap : public testing::TestWithParam<DamagedMap> {};

TEST_P(HostileCharacterMap, IsNotAModel) {
  TemporaryFolder folder;
  EXPECT_THAT(write_with_map(folder, GetParam().map).error().problem(),
              HasSubstr("is not a valid SentencePiece model"));
}

const std::string kText("b\0", 2);

INSTANTIATE_TEST_SUITE_P(
    All, HostileCharacterMap,
    testing::Values(
        DamagedMap{"OfNoSize", "abc"},
        DamagedMap{"WithoutATrie", little_endian(0) + kText},
        DamagedMap{"LargerThanItsBytes", little_endian(2048) + kText},
        DamagedMap{"OfHalfAUnit", little_endian(2) + "abc" + kText},
        DamagedMap{"ThatBeginsOutside",
                   character_map({{0, node(0, 100000, false)}}, kText)},
        DamagedMap{"ThatEndsOutside",
                   character_map({{0, node(0, 256, false)},
                                  {256 ^ 'a', node('a', 100000, false)}},
                                 kText)},
        DamagedMap{"WithATextOutside",
                   character_map({{0, node(0, 256, false)},
                                  {256 ^ 'a', node('a', (256 ^ 'a') ^ 384u, true)},
                                  {384, 0x80000002u}},
                                 kText)},
        DamagedMap{"WithATextWithoutEnd",
                   character_map({{0, node(0, 256, false)},
                                  {256 ^ 'a', node('a', (256 ^ 'a') ^ 384u, true)}},
                                 "bb")},
        // More prefixes of one text than the library has room for.
        DamagedMap{"InACircle", character_map({{0, node(0, 256, false)},
                                               {256 ^ 'a', node('a', 'a', true)}},
                                              kText)}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(HostileSentencePiece, FieldsLongerThanTheFileAreNotAModel) {
  for (const uint64_t length : {uint64_t{1} << 31, uint64_t{1} << 62, UINT64_MAX}) {
    TemporaryFolder folder;
    folder.write_text("tokenizer.model", "\n" + varint(length) + "abc");
    EXPECT_THAT(folder.error().problem(),
                HasSubstr("is not a valid SentencePiece model"));
  }
}

// --- what fuzzing found ---------------------------------------------------------------

TEST(FuzzedTokenizer, EveryInputThatOnceFailedIsAnErrorOrATokenizer) {
  const std::filesystem::path inputs = fixture("../fuzz/regressions");
  size_t count = 0;
  for (const char* target : {"sentencepiece", "tiktoken", "tokenizer_json"}) {
    if (!std::filesystem::exists(inputs / target)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(inputs / target)) {
      SCOPED_TRACE(entry.path().filename().string());
      const std::string content = read_file(entry.path());
      TemporaryFolder folder;
      folder.write_text(
          target == std::string("tokenizer_json") ? "tokenizer.json" : "tokenizer.model",
          content);
      try {
        const auto tokenizer = folder.open();
        tokenizer->decode(tokenizer->encode(content));
      } catch (const Error&) {
      }
      ++count;
    }
  }
  EXPECT_GT(count, 0u);
}

}  // namespace
}  // namespace lowmem::test

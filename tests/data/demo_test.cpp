#include "lowmem/data/demo.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "data/support.h"
#include "lowmem/data/hellaswag.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string& text_of(const std::vector<DemoFile>& files, const std::string& name) {
  return std::find_if(files.begin(), files.end(),
                      [&](const DemoFile& file) { return file.name == name; })
      ->text;
}

// The demo of seed 42, in a folder that is gone after the tests.
class Demo : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    files_ = new std::vector<DemoFile>(demo_files(42));
    fs::create_directories(folder() / "model");
    for (const DemoFile& file : *files_)
      std::ofstream(folder() / file.name, std::ios::binary) << file.text;
  }
  static void TearDownTestSuite() {
    fs::remove_all(folder());
    delete files_;
  }
  static fs::path folder() { return fs::path(::testing::TempDir()) / "lowmem_demo_test"; }
  static std::vector<HellaSwagRow> rows(const std::string& name) {
    return read_hellaswag(folder() / name, 0);
  }

  static std::vector<DemoFile>* files_;
};
std::vector<DemoFile>* Demo::files_ = nullptr;

const std::string& right_ending(const HellaSwagRow& row) {
  return row.endings[static_cast<size_t>(row.label)];
}

std::set<int32_t> ids_of(const Tokenizer& tokenizer, const std::string& text) {
  const auto ids = tokenizer.encode(text);
  return {ids.begin(), ids.end()};
}

// The share of rows where the ending with the highest score, or the first of them, is
// right.
template <class Score>
double accuracy(const std::vector<HellaSwagRow>& rows, Score&& score) {
  double right = 0;
  for (const HellaSwagRow& row : rows) {
    std::array<double, 4> scores;
    for (size_t i = 0; i < 4; ++i) scores[i] = score(row.endings[i]);
    const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
    right += best == row.label;
  }
  return right / static_cast<double>(rows.size());
}

TEST_F(Demo, HasTheRowsItSays) {
  EXPECT_EQ(rows("train.jsonl").size(), 2400u);
  EXPECT_EQ(rows("val.jsonl").size(), 400u);
  const auto small = demo_files(1, {.train_rows = 8, .val_rows = 4});
  const auto& train = text_of(small, "train.jsonl");
  EXPECT_EQ(std::count(train.begin(), train.end(), '\n'), 8);
}

TEST_F(Demo, HasTheOfficialSchema) {
  std::istringstream lines(text_of(*files_, "val.jsonl"));
  int64_t index = 0;
  for (std::string line; std::getline(lines, line); ++index) {
    const json row = json::parse(line);
    std::set<std::string> keys;
    for (const auto& [key, value] : row.items()) keys.insert(key);
    EXPECT_EQ(keys, (std::set<std::string>{"ind", "activity_label", "ctx_a", "ctx_b",
                                           "ctx", "split", "split_type", "label",
                                           "endings", "source_id"}));
    EXPECT_EQ(row["ind"], index);
    EXPECT_EQ(row["split"], "val");
    EXPECT_EQ(row["ctx"],
              row["ctx_a"].get<std::string>() + " " + row["ctx_b"].get<std::string>());
    EXPECT_EQ(line.find('%'), std::string::npos) << "an unfilled name: " << line;
  }
}

// FNV-1a of all files. Another value means that published results of the demo are void.
TEST_F(Demo, IsTheSameOnEveryMachine) {
  uint64_t hash = 14695981039346656037u;
  for (const DemoFile& file : *files_)
    for (const char byte : file.name + file.text)
      hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211u;
  EXPECT_EQ(hash, 8586244712597285034u);
}

TEST_F(Demo, DiffersByItsSeedInItsRowsOnly) {
  const auto other = demo_files(43);
  for (const DemoFile& file : *files_)
    EXPECT_EQ(text_of(other, file.name) == file.text, file.name.starts_with("model/"));
}

TEST_F(Demo, HasNoContextTwice) {
  std::set<std::string> contexts;
  for (const char* name : {"train.jsonl", "val.jsonl"})
    for (const HellaSwagRow& row : rows(name))
      EXPECT_TRUE(contexts.insert(row.context).second) << row.context;
}

TEST_F(Demo, HasFourDifferentEndingsARow) {
  for (const HellaSwagRow& row : rows("train.jsonl"))
    EXPECT_EQ(std::set(row.endings.begin(), row.endings.end()).size(), 4u);
}

TEST_F(Demo, HasEveryEndingRightAsOftenAsChanceWouldHaveIt) {
  std::map<std::string, std::pair<int, int>> seen;  // right, in all
  for (const HellaSwagRow& row : rows("train.jsonl")) {
    for (const std::string& ending : row.endings) ++seen[ending].second;
    ++seen[right_ending(row)].first;
  }
  for (const auto& [ending, count] : seen)
    EXPECT_EQ(4 * count.first, count.second) << ending;
}

TEST_F(Demo, IsNotToldByItsEndingsAlone) {
  std::map<std::string, double> right, shown;  // by word of the ending
  const auto words_of = [](const std::string& ending) {
    std::istringstream in(ending);
    return std::vector<std::string>(std::istream_iterator<std::string>(in), {});
  };
  for (const HellaSwagRow& row : rows("train.jsonl")) {
    for (const std::string& ending : row.endings)
      for (const std::string& word : words_of(ending)) ++shown[word];
    for (const std::string& word : words_of(right_ending(row))) ++right[word];
  }
  const auto by_words = [&](const std::string& ending) {
    double score = 0;
    for (const std::string& word : words_of(ending)) score += right[word] / shown[word];
    return score;
  };
  const auto longest = [](const std::string& e) { return static_cast<double>(e.size()); };
  const auto shortest = [](const std::string& e) {
    return -static_cast<double>(e.size());
  };
  // 400 rows: three standard deviations are 6.5%.
  const auto val = rows("val.jsonl");
  EXPECT_NEAR(accuracy(val, by_words), 0.25, 0.065);
  EXPECT_NEAR(accuracy(val, longest), 0.25, 0.065);
  EXPECT_NEAR(accuracy(val, shortest), 0.25, 0.065);
  EXPECT_NEAR(accuracy(val, [](const std::string&) { return 0.0; }), 0.25, 0.065);
}

// A count of the words that contexts and right endings share is all there is to learn.
TEST_F(Demo, IsToldByItsContexts) {
  std::map<std::pair<std::string, std::string>, double> together;
  const auto words_of = [](const std::string& text) {
    std::istringstream in(text);
    return std::set<std::string>(std::istream_iterator<std::string>(in), {});
  };
  for (const HellaSwagRow& row : rows("train.jsonl"))
    for (const std::string& word : words_of(row.context))
      for (const std::string& answer : words_of(right_ending(row)))
        ++together[{word, answer}];
  double right = 0;
  const auto val = rows("val.jsonl");
  for (const HellaSwagRow& row : val) {
    std::array<double, 4> scores{};
    for (size_t i = 0; i < 4; ++i)
      for (const std::string& word : words_of(row.context))
        for (const std::string& answer : words_of(row.endings[i]))
          if (const auto it = together.find({word, answer}); it != together.end())
            scores[i] += std::min(1.0, it->second);
    right += std::max_element(scores.begin(), scores.end()) - scores.begin() == row.label;
  }
  EXPECT_GT(right / static_cast<double>(val.size()), 0.98);
}

TEST_F(Demo, HasATokenForEveryWord) {
  const auto tokenizer = open_tokenizer(folder() / "model");
  const json config = json::parse(text_of(*files_, "model/config.json"));
  EXPECT_EQ(tokenizer->vocab_size(), config["vocab_size"]);
  EXPECT_EQ(tokenizer->bos_id(), config["bos_token_id"]);
  EXPECT_EQ(tokenizer->eos_id(), config["eos_token_id"]);
  EXPECT_TRUE(tokenizer->adds_bos());
  for (const char* name : {"train.jsonl", "val.jsonl"})
    for (const HellaSwagRow& row : rows(name)) {
      const EvalItem item = eval_item(row);
      for (const std::string& text :
           {row.context + " " + right_ending(row), item.query + " " + item.choices[0]}) {
        const auto ids = tokenizer->encode(text);
        const auto words = 1 + std::count(text.begin(), text.end(), ' ');
        const auto marks = std::count_if(text.begin(), text.end(),
                                         [](char c) { return c == '.' || c == ':'; });
        EXPECT_EQ(static_cast<int64_t>(ids.size()), words + marks) << text;
        EXPECT_GE(ids.size(), 18u);
        EXPECT_LE(ids.size(), 40u);
        EXPECT_EQ(tokenizer->decode(ids), text);
      }
    }
}

// With frozen embeddings a token that training never shows is noise. The three others are
// in the queries of every activity alike.
TEST_F(Demo, ShowsInTrainingEveryTokenThatTellsActivitiesApart) {
  const auto tokenizer = open_tokenizer(folder() / "model");
  std::set<int32_t> shown = ids_of(*tokenizer, ": We In");
  for (const HellaSwagRow& row : rows("train.jsonl"))
    shown.merge(ids_of(*tokenizer, row.context + " " + right_ending(row)));
  for (const HellaSwagRow& row : rows("val.jsonl")) {
    const EvalItem item = eval_item(row);
    for (const std::string& choice : item.choices)
      for (const int32_t id : ids_of(*tokenizer, item.query + " " + choice))
        EXPECT_TRUE(shown.contains(id)) << item.query << " " << choice;
  }
}

TEST_F(Demo, SpellsOtherTextInBytes) {
  const auto tokenizer = open_tokenizer(folder() / "model");
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("A zebra: 東京 😀\n")),
            "A zebra: 東京 😀\n");
}

}  // namespace
}  // namespace lowmem

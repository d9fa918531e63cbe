#include "data/demo_rows.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "data/demo_words.h"
#include "lowmem/core/random.h"

namespace lowmem::demo {
namespace {

constexpr uint64_t kStream = 0x64656D6F;  // "demo": apart from the streams of a run
constexpr size_t kChoices = 4;

struct Row {
  std::string activity, ctx_a, ctx_b;
  std::array<std::string, kChoices> endings;
  size_t label = 0;
};

using Words = std::vector<std::pair<std::string_view, std::string>>;

std::string capital(std::string_view word) {
  std::string text(word);
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

std::string small(std::string_view word) {
  std::string text(word);
  text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

// `text` with the words put in place of their %names. No name begins another.
std::string fill(std::string_view text, const Words& words) {
  std::string result(text);
  for (const auto& [name, word] : words)
    for (size_t at; (at = result.find(name)) != std::string::npos;)
      result.replace(at, name.size(), word);
  return result;
}

template <class Items>
const auto& pick(Random& random, const Items& items) {
  return items[random.below(static_cast<uint32_t>(items.size()))];
}

template <class Items>
void shuffle(Random& random, Items& items) {
  for (size_t i = items.size(); i > 1; --i)
    std::swap(items[i - 1], items[random.below(static_cast<uint32_t>(i))]);
}

void write_context(Random& random, const Topic& topic, Row& row) {
  const Person& person = pick(random, kPeople);
  const uint32_t tool = random.below(static_cast<uint32_t>(topic.tools.size()));
  const uint32_t step = 1 + random.below(static_cast<uint32_t>(topic.tools.size()) - 1);
  const Words words = {
      {"%person", std::string(person.noun)},
      {"%pronoun", std::string(person.pronoun)},
      {"%Pronoun", capital(person.pronoun)},
      {"%activity", small(topic.activity)},
      {"%Activity", std::string(topic.activity)},
      {"%place", std::string(pick(random, topic.places))},
      {"%tool", std::string(topic.tools[tool])},
      {"%other", std::string(topic.tools[(tool + step) % topic.tools.size()])}};
  row.activity = topic.activity;
  row.ctx_a = fill(pick(random, kContexts), words);
  row.ctx_b = fill(pick(random, kStarts), words);
}

// Four rows with the same endings, of four topics; each ending is right in one of them.
void write_group(Random& random, std::set<std::string>& contexts,
                 std::vector<Row>& rows) {
  std::array<size_t, kTopics.size()> order;
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  shuffle(random, order);
  const std::string_view frame = pick(random, kEndings);
  std::array<std::string, kChoices> endings;
  for (size_t i = 0; i < kChoices; ++i) {
    const Topic& topic = kTopics[order[i]];
    endings[i] = fill(frame, {{"%verb", std::string(pick(random, topic.verbs))},
                              {"%object", std::string(pick(random, topic.objects))}});
  }
  for (size_t i = 0; i < kChoices; ++i) {
    Row row;
    do {
      write_context(random, kTopics[order[i]], row);
    } while (!contexts.insert(row.ctx_a + " " + row.ctx_b).second);
    std::array<size_t, kChoices> place = {0, 1, 2, 3};
    shuffle(random, place);
    for (size_t k = 0; k < kChoices; ++k) {
      row.endings[k] = endings[place[k]];
      if (place[k] == i) row.label = k;
    }
    rows.push_back(std::move(row));
  }
}

std::string to_json_lines(const std::vector<Row>& rows, std::string_view split) {
  std::string text;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    const nlohmann::ordered_json json = {
        {"ind", i},
        {"activity_label", row.activity},
        {"ctx_a", row.ctx_a},
        {"ctx_b", row.ctx_b},
        {"ctx", row.ctx_a + " " + row.ctx_b},
        {"split", split},
        {"split_type", "indomain"},
        {"label", row.label},
        {"endings", row.endings},
        {"source_id", "demo~" + std::string(split) + "-" + std::to_string(i)}};
    text += json.dump() + "\n";
  }
  return text;
}

std::string write_split(Random& random, std::set<std::string>& contexts, int64_t count,
                        std::string_view split) {
  assert(count % static_cast<int64_t>(kChoices) == 0);
  std::vector<Row> rows;
  while (static_cast<int64_t>(rows.size()) < count) write_group(random, contexts, rows);
  shuffle(random, rows);
  return to_json_lines(rows, split);
}

// Adds the words of `text`: runs of letters, each with the space before it.
void add_words(std::set<std::string>& words, std::string_view text) {
  const auto letter = [&](size_t i) {
    return i < text.size() && std::isalpha(static_cast<unsigned char>(text[i]));
  };
  for (size_t i = 0; i < text.size();) {
    size_t end = i + (text[i] == ' ' ? 1 : 0);
    while (letter(end)) ++end;
    if (letter(end - 1) && end > i && (i == 0 || text[i - 1] != '%'))
      words.emplace(text.substr(i, end - i));
    i = std::max(end, i + 1);
  }
}

}  // namespace

Splits write_rows(uint64_t seed, int64_t train_rows, int64_t val_rows) {
  Random random(seed, kStream);
  std::set<std::string> contexts;
  Splits splits;
  splits.train = write_split(random, contexts, train_rows, "train");
  splits.val = write_split(random, contexts, val_rows, "val");
  return splits;
}

std::set<std::string> words() {
  std::set<std::string> words;
  const auto add = [&](const auto& items) {
    for (const std::string_view item : items) add_words(words, " " + std::string(item));
  };
  for (const Topic& topic : kTopics) {
    add_words(words, topic.activity);
    add_words(words, " " + std::string(topic.activity));
    add_words(words, " " + small(topic.activity));
    add(topic.places), add(topic.tools), add(topic.verbs), add(topic.objects);
  }
  for (const Person& person : kPeople) {
    add_words(words, " " + std::string(person.noun));
    add_words(words, " " + std::string(person.pronoun));
    add_words(words, " " + capital(person.pronoun));
  }
  for (const std::string_view text : kContexts) add_words(words, text);
  add(kContexts), add(kStarts), add(kEndings);
  // The evaluation writes the start of a sentence with a capital letter.
  for (const std::string_view text : kStarts) {
    const std::string_view word = text.substr(0, text.find(' '));
    if (!word.starts_with('%')) add_words(words, " " + capital(word));
  }
  return words;
}

}  // namespace lowmem::demo

#include "config/nearest.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "config/keys.h"
#include "lowmem/config/run_config.h"

namespace lowmem {
namespace {

constexpr size_t kLongestWord = 100;  // beyond it nothing was nearly meant

// Insertions, deletions and substitutions between two words (Levenshtein 1966).
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t changed = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

// "learning_rate" -> "lr"
std::string initials(std::string_view word) {
  std::string result;
  for (size_t i = 0; i < word.size(); ++i)
    if (word[i] != '_' && (i == 0 || word[i - 1] == '_')) result += word[i];
  return result;
}

// The words of `word`, when those of `part` are among them, that are not in `part`; one
// more unless they come last, since the last words of a name say what it is: in
// "num_train_epochs", "epochs" is 2 away and "train" 3.
std::optional<size_t> extra_words(std::string_view word, std::string_view part) {
  const std::string all = "_" + std::string(word) + "_";
  const std::string some = "_" + std::string(part) + "_";
  const size_t at = all.rfind(some);
  if (part.empty() || at == std::string::npos) return std::nullopt;
  const auto extra =
      std::count(all.begin(), all.end(), '_') - std::count(some.begin(), some.end(), '_');
  return static_cast<size_t>(extra) + (at + some.size() == all.size() ? 0 : 1);
}

// 0 for equal words. Forms of one word may be nearer than their letters are.
size_t distance(std::string_view unknown, std::string_view known) {
  size_t nearest = edit_distance(unknown, known);
  if (initials(unknown) == known) nearest = std::min<size_t>(nearest, 1);
  nearest = std::min(nearest, extra_words(unknown, known).value_or(nearest));
  return std::min(nearest, extra_words(known, unknown).value_or(nearest));
}

// Beyond this many edits a name was not meant.
size_t farthest(std::string_view unknown) {
  return std::max<size_t>(2, unknown.size() / 2);
}

// 0 for the same section and for a key without one; 1 for another of the program's
// sections, where people look for keys; the edits, 2 at most, for a word that is no
// section.
size_t section_distance(std::string_view unknown, bool is_section,
                        std::string_view known) {
  if (unknown.empty() || unknown == known) return 0;
  return is_section ? 1 : std::min<size_t>(2, edit_distance(unknown, known));
}

// Keeps the candidate with the smallest distance, the first of equals.
struct Nearest {
  size_t best;  // only candidates nearer than this
  std::string name;

  void offer(size_t away, std::string_view candidate) {
    if (away >= best) return;
    best = away;
    name = candidate;
  }
};

}  // namespace

std::string_view nearest_word(std::string_view word,
                              const std::vector<std::string_view>& words) {
  if (word.empty() || word.size() > kLongestWord) return {};
  std::string_view nearest;
  size_t best = farthest(word) + 1;
  for (std::string_view candidate : words) {
    const size_t away = distance(word, candidate);
    if (away >= best) continue;
    best = away;
    nearest = candidate;
  }
  return nearest;
}

std::string key_remedy(std::string_view unknown) {
  const size_t dot = unknown.find('.');
  const std::string_view section =
      dot == std::string_view::npos ? "" : unknown.substr(0, dot);
  const std::string_view bare =
      unknown.substr(dot == std::string_view::npos ? 0 : dot + 1);

  RunConfig defaults;
  bool is_section = false;
  defaults.visit([&](const char* name, auto&, const char*) {
    is_section = is_section || section == name;
  });
  const bool no_section = !section.empty() && !is_section;
  Nearest nearest{farthest(no_section ? unknown : bare) + 1, ""};
  std::string keys_of_section, in_its_section;
  if (unknown.size() <= kLongestWord && section.empty())
    defaults.visit([&](const char* name, auto&, const char*) {
      nearest.offer(edit_distance(bare, name), name);
    });
  for_each_key(defaults, [&](const std::string& key, auto&, KeyFacts) {
    const std::string its_section = key.substr(0, key.find('.'));
    const std::string its_name = key.substr(key.find('.') + 1);
    if (key == unknown)
      in_its_section = "`" + its_section + ": { " + its_name + ": ... }`";
    if (its_section == section)
      (keys_of_section += keys_of_section.empty() ? "" : ", ") += its_name;
    if (unknown.size() > kLongestWord) return;
    const size_t away = section_distance(section, is_section, its_section);
    nearest.offer(away + distance(bare, its_name), key);
    nearest.offer(edit_distance(unknown, key), key);
  });

  if (!in_its_section.empty()) return "Write it in its section, as " + in_its_section;
  if (!nearest.name.empty()) return "The nearest key is " + nearest.name;
  if (!keys_of_section.empty())
    return "The keys of " + std::string(section) + " are " + keys_of_section;
  return "lowmem-train --help lists all keys";
}

}  // namespace lowmem

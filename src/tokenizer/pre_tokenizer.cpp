#include "tokenizer/pre_tokenizer.h"

#include <cctype>
#include <utility>

#include "lowmem/core/utf8.h"
#include "tokenizer/normalizer.h"

namespace lowmem::tokenization {
namespace {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

class Split : public PreTokenizer {
 public:
  Split(const std::string& pcre2, const std::string& where, MatchBehavior behavior,
        bool inverted)
      : pattern_(pcre2, where),
        keep_matches_(behavior == MatchBehavior::kIsolated || inverted),
        keep_gaps_(behavior == MatchBehavior::kIsolated || !inverted) {}

  void apply(Words& words) const override {
    std::vector<std::string_view> views;
    for (const std::string_view word : words.views) {
      size_t done = 0;
      const auto keep = [&](size_t end, bool wanted) {
        if (wanted && end > done) views.push_back(word.substr(done, end - done));
        done = end;
      };
      for (const Pattern::Match match : pattern_.find_all(word)) {
        keep(match.start, keep_gaps_);
        keep(match.end, keep_matches_);
      }
      keep(word.size(), keep_gaps_);
    }
    words.views = std::move(views);
  }

 private:
  Pattern pattern_;
  bool keep_matches_;
  bool keep_gaps_;
};

// Begins every word with a space.
class PrefixSpace : public PreTokenizer {
 public:
  void apply(Words& words) const override {
    for (std::string_view& word : words.views)
      if (!word.starts_with(' '))
        word = words.owned.emplace_back(" " + std::string(word));
  }
};

// SentencePiece's way with spaces: each becomes `mark`, and a word begins with one.
class Metaspace : public PreTokenizer {
 public:
  enum class Prepend { kAlways, kFirst, kNever };

  Metaspace(std::string mark, Prepend prepend, bool split)
      : mark_(std::move(mark)), prepend_(prepend), split_(split) {}

  void apply(Words& words) const override {
    std::vector<std::string_view> views;
    bool first = words.starts_text;
    for (const std::string_view word : words.views) {
      std::string text = replace_all(word, " ", mark_);
      const bool wanted =
          prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && first);
      if (wanted && !text.starts_with(mark_)) text = mark_ + text;
      first = false;
      std::string_view rest = words.owned.emplace_back(std::move(text));
      while (split_ && !rest.empty()) {
        const size_t next = rest.find(mark_, 1);
        if (next == std::string_view::npos) break;
        views.push_back(rest.substr(0, next));
        rest.remove_prefix(next);
      }
      if (!rest.empty()) views.push_back(rest);
    }
    words.views = std::move(views);
  }

 private:
  std::string mark_;
  Prepend prepend_;
  bool split_;
};

std::unique_ptr<PreTokenizer> read_split(const JsonField& field) {
  const JsonField pattern = field.at("pattern");
  std::string pcre2;
  if (const auto regex = pattern.find("Regex"))
    pcre2 = to_pcre2(regex->string(), regex->where());
  else
    for (const char c :
         pattern.at("String").string())  // every character stands for itself
      pcre2 += (static_cast<unsigned char>(c) < 0x80 &&
                        std::isalnum(static_cast<unsigned char>(c)) == 0
                    ? "\\"
                    : "") +
               std::string(1, c);
  const JsonField behavior = field.at("behavior");
  if (behavior.string() != "Isolated" && behavior.string() != "Removed")
    behavior.refuse("the behavior " + behavior.string());
  return make_split(
      pcre2, pattern.where(),
      behavior.string() == "Removed" ? MatchBehavior::kRemoved : MatchBehavior::kIsolated,
      field.boolean("invert", false));
}

std::unique_ptr<PreTokenizer> read_metaspace(const JsonField& field) {
  const std::string& mark = field.at("replacement").string();
  if (mark.empty() || utf8_at(mark, 0).size != mark.size())
    field.at("replacement").fail("is not one character");
  const auto scheme = field.find("prepend_scheme");
  const std::string name = scheme ? scheme->string() : "always";
  if (name != "always" && name != "first" && name != "never")
    scheme->refuse("the scheme " + name);
  if (!field.boolean("add_prefix_space", true) && name != "never")
    field.fail("has add_prefix_space false and prepend_scheme " + name);
  return std::make_unique<Metaspace>(mark,
                                     name == "always"  ? Metaspace::Prepend::kAlways
                                     : name == "first" ? Metaspace::Prepend::kFirst
                                                       : Metaspace::Prepend::kNever,
                                     field.boolean("split", true));
}

}  // namespace

std::unique_ptr<PreTokenizer> make_split(const std::string& pcre2,
                                         const std::string& where, MatchBehavior behavior,
                                         bool inverted) {
  return std::make_unique<Split>(pcre2, where, behavior, inverted);
}

PreTokenizers::PreTokenizers(const JsonField& field) { read(field, 0); }

void PreTokenizers::read(const JsonField& field, int depth) {
  if (byte_level_) field.refuse("a pre-tokenizer after ByteLevel");
  const std::string& type = field.at("type").string();
  if (steps_.size() >= kMostSteps) field.refuse("a sequence so long");
  if (type == "Sequence") {
    if (depth == kDeepestSequence) field.refuse("a sequence so deep");
    for (const JsonField& step : field.at("pretokenizers").elements())
      read(step, depth + 1);
  } else if (type == "Split") {
    steps_.push_back(read_split(field));
  } else if (type == "ByteLevel") {
    byte_level_ = true;
    if (field.boolean("add_prefix_space", true))
      steps_.push_back(std::make_unique<PrefixSpace>());
    if (field.boolean("use_regex", true))
      steps_.push_back(make_split(to_pcre2(kGpt2Pattern, field.where()), field.where(),
                                  MatchBehavior::kIsolated, false));
  } else if (type == "Digits") {
    const bool individual = field.boolean("individual_digits", false);
    steps_.push_back(
        make_split(to_pcre2(individual ? "\\p{N}" : "\\p{N}+", field.where()),
                   field.where(), MatchBehavior::kIsolated, false));
  } else if (type == "Metaspace") {
    steps_.push_back(read_metaspace(field));
  } else if (type == "WhitespaceSplit") {
    steps_.push_back(make_split(to_pcre2("\\s", field.where()), field.where(),
                                MatchBehavior::kRemoved, false));
  } else if (type == "Whitespace") {
    const std::string word = word_characters();
    const std::string space = to_pcre2("\\s", field.where());
    steps_.push_back(
        make_split("[" + word + "]+|[^" + word + space.substr(1, space.size() - 2) + "]+",
                   field.where(), MatchBehavior::kRemoved, true));
  } else {
    field.refuse("the pre-tokenizer " + type);
  }
}

void PreTokenizers::apply(Words& words) const {
  for (const auto& step : steps_) step->apply(words);
}

}  // namespace lowmem::tokenization

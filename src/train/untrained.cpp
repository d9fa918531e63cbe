#include "untrained.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "lowmem/config/rules.h"
#include "lowmem/core/log.h"

namespace lowmem::train {
namespace {

// Ids of rows [V, ...] that hold zeros alone, of those `used`.
std::vector<int32_t> zero_rows(weights::Home& home, const weights::Weight& matrix,
                               const std::vector<bool>& used) {
  std::vector<bool> zero = used;
  const auto row = static_cast<size_t>(matrix.bytes() / matrix.spec.shape.front());
  size_t offset = 0;
  home.read(matrix, [&](std::span<const std::byte> piece) {
    const size_t end = offset + piece.size();
    for (size_t id = offset / row; id < zero.size() && id * row < end; ++id) {
      if (!zero[id]) continue;
      const size_t first = std::max(id * row, offset) - offset;
      const auto part =
          piece.subspan(first, std::min((id + 1) * row, end) - offset - first);
      zero[id] = std::all_of(part.begin(), part.end(),
                             [](std::byte byte) { return byte == std::byte{0}; });
    }
    offset = end;
  });
  std::vector<int32_t> ids;
  for (size_t id = 0; id < zero.size(); ++id)
    if (zero[id]) ids.push_back(static_cast<int32_t>(id));
  return ids;
}

// "<|eot_id|>, <|start_header_id|> and 3 more".
std::string names_of(const std::set<int32_t>& ids, const Tokenizer& tokenizer) {
  constexpr size_t kNamed = 4;
  std::string names;
  size_t named = 0;
  for (const int32_t id : ids) {
    if (named++ == kNamed)
      return names + " and " + std::to_string(ids.size() - kNamed) + " more";
    names += (names.empty() ? "" : ", ") + tokenizer.piece(id);
  }
  return names;
}

}  // namespace

void warn_of_zeros(const RunConfig& config, const weights::Loaded& loaded) {
  if (!rule_of(config.optimizer.name).relative) return;
  std::vector<std::string> names;
  for (const weights::Weight* weight : loaded.zeros)
    if (weight->trained) names.push_back(weight->name());
  if (names.empty()) return;
  const bool floor = numbers_of(config.optimizer).scale_floor > 0;
  log::warn(names.front() +
            (names.size() > 1 ? " and " + std::to_string(names.size() - 1) + " more hold"
                              : " holds") +
            " zeros alone, and will " + (floor ? "move slowly" : "not move") +
            ": a step of " + std::string(word_of(config.optimizer.name)) +
            " is a share of the weight's norm" +
            (floor ? ", or of optimizer.scale_floor where that is larger. Raise it, or "
                     "train with optimizer.name = adamw"
                   : ". Set optimizer.scale_floor, or train with optimizer.name = "
                     "adamw"));
}

void warn_of_unlearned_tokens(const RunConfig& config, const model::Llama& model,
                              weights::Home& home, const Texts& texts) {
  weights::Table& table = home.table();
  std::vector<bool> read(static_cast<size_t>(model.config().vocab_size));
  std::vector<bool> said = read;
  for (const Example& example : texts.examples) {
    for (const int32_t id : example.ids) read[static_cast<size_t>(id)] = true;
    for (const int32_t id : example.labels)
      if (id != kIgnoreLabel) said[static_cast<size_t>(id)] = true;
  }
  std::set<int32_t> unlearned;
  const auto look = [&](const weights::Weight& matrix, const std::vector<bool>& used) {
    if (matrix.trained) return;
    const auto lease = home.borrow(matrix.spec.group, weights::Access::kRead);
    for (const int32_t id : zero_rows(home, matrix, used)) unlearned.insert(id);
  };
  const weights::Weight& embedding = table.at("model.embed_tokens.weight");
  look(embedding, read);
  look(model.tied() ? embedding : table.at("lm_head.weight"), said);
  if (unlearned.empty()) return;
  const auto tokenizer = open_tokenizer(config.model.path);
  log::warn(
      "the training rows hold tokens that the model has never learned, their "
      "weights being zeros: " +
      names_of(unlearned, *tokenizer) + ". The embedding and the head are not trained: " +
      (config.adapter.kind == AdapterKind::kNone
           ? "add them to model.train (model.embed_tokens.weight, lm_head.weight), or "
             "train with model.train = all"
           : "name them in adapter.also_train (embed_tokens, lm_head)") +
      ", or use a template without these tokens");
}

void warn_of_zero_adapter(const RunConfig& config) {
  if (!rule_of(config.optimizer.name).relative) return;
  log::warn("adapter.kind = " + std::string(word_of(config.adapter.kind)) +
            " begins with second matrices of zeros, which will hardly move: a step of " +
            std::string(word_of(config.optimizer.name)) +
            " is a share of the weight's norm. Train with optimizer.name = adamw");
}

}  // namespace lowmem::train

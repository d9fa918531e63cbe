#include "untrained.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "lowmem/config/rules.h"
#include "lowmem/core/log.h"
#include "lowmem/ops/pieces.h"

namespace lowmem::train {
namespace {

// Ids of rows [V, ...] that hold zeros alone, of those `used`.
std::vector<int32_t> zero_rows(const at::Tensor& matrix, const std::vector<bool>& used) {
  std::vector<bool> zero = used;
  const size_t row = matrix.nbytes() / static_cast<size_t>(matrix.size(0));
  size_t offset = 0;
  ops::read_pieces(matrix, [&](std::span<const std::byte> piece) {
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

bool is_trained(weights::Table& table, const at::Tensor& tensor) {
  return std::any_of(table.all().begin(), table.all().end(),
                     [&](const weights::Weight& weight) {
                       return weight.here.is_same(tensor) && weight.trained;
                     });
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

void warn_of_zeros(const RunConfig& config, weights::Home& home) {
  if (!rule_of(config.optimizer.name).relative) return;
  std::vector<std::string> names;
  for (size_t group = 0; group < home.table().groups(); ++group) {
    const auto lease = home.borrow(group, weights::Access::kRead);
    for (const weights::Weight* weight : home.table().group(group))
      if (weight->trained && !weight->here.any().item<bool>())
        names.push_back(weight->name());
  }
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
  const auto look = [&](size_t group, const at::Tensor& matrix,
                        const std::vector<bool>& used) {
    if (is_trained(table, matrix)) return;
    const auto lease = home.borrow(group, weights::Access::kRead);
    for (const int32_t id : zero_rows(matrix, used)) unlearned.insert(id);
  };
  look(0, model.embedding(), read);
  look(model.tied() ? 0 : table.top(), model.head(), said);
  if (unlearned.empty()) return;
  const auto tokenizer = open_tokenizer(config.model.path);
  log::warn(
      "the training rows hold tokens that the model has never learned, their "
      "weights being zeros: " +
      names_of(unlearned, *tokenizer) +
      ". The embedding and the head are not trained: add them to model.train "
      "(model.embed_tokens.weight, lm_head.weight), or train with model.train = "
      "all, or use a template without these tokens");
}

}  // namespace lowmem::train

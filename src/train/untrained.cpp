#include "untrained.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "lowmem/config/rules.h"
#include "lowmem/core/log.h"
#include "lowmem/kernels/elements.h"

namespace lowmem::train {
namespace {

// A row whose norm is this share of the median row's, or less, was never learned. Over
// the 51,000 rows of SmolLM2-135M, tinystories-656k and stories260k, reserved tokens
// among them, the smallest share is 0.54; what Llama 3 has for its reserved tokens lies
// near 1e-20, where it is not 0.
constexpr double kUnlearnedShare = 0.01;

template <class Element>
double sum_of_squares(std::span<const std::byte> bytes) {
  double sum = 0;
  for (size_t at = 0; at + sizeof(Element) <= bytes.size(); at += sizeof(Element)) {
    Element element;
    std::memcpy(&element, bytes.data() + at, sizeof element);
    const double value = kernels::to_float(element);
    sum += value * value;
  }
  return sum;
}

// Ids of rows [V, ...] that were never learned, of those `used`. Costs a look at these,
// and at each sixteenth beside them.
std::vector<int32_t> unlearned_rows(weights::Home& home, const weights::Weight& matrix,
                                    const std::vector<bool>& used) {
  const auto squares_of = matrix.format == DType::kBF16 ? sum_of_squares<kernels::Bf16>
                                                        : sum_of_squares<float>;
  const auto looks = [&](size_t id) { return used[id] || id % 16 == 0; };
  std::vector<double> squares(used.size());
  const auto row = static_cast<size_t>(matrix.bytes() / matrix.spec.shape.front());
  size_t offset = 0;
  home.read(matrix, [&](std::span<const std::byte> piece) {
    const size_t end = offset + piece.size();
    for (size_t id = offset / row; id < used.size() && id * row < end; ++id) {
      if (!looks(id)) continue;
      const size_t first = std::max(id * row, offset) - offset;
      squares[id] += squares_of(
          piece.subspan(first, std::min((id + 1) * row, end) - offset - first));
    }
    offset = end;
  });
  std::vector<double> looked;
  for (size_t id = 0; id < used.size(); ++id)
    if (looks(id)) looked.push_back(squares[id]);
  const auto middle = looked.begin() + static_cast<std::ptrdiff_t>(looked.size() / 2);
  std::nth_element(looked.begin(), middle, looked.end());
  const double bound = kUnlearnedShare * kUnlearnedShare * *middle;
  std::vector<int32_t> ids;
  for (size_t id = 0; id < used.size(); ++id)
    if (used[id] && squares[id] <= bound) ids.push_back(static_cast<int32_t>(id));
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
    for (const int32_t id : unlearned_rows(home, matrix, used)) unlearned.insert(id);
  };
  const weights::Weight& embedding = table.at("model.embed_tokens.weight");
  look(embedding, read);
  look(model.tied() ? embedding : table.at("lm_head.weight"), said);
  if (unlearned.empty()) return;
  const auto tokenizer = open_tokenizer(config.model.path);
  log::warn(
      "the training rows hold tokens that the model has never learned, their "
      "weights being zeros, or next to them: " +
      names_of(unlearned, *tokenizer) + ". The embedding and the head are not trained: " +
      (config.adapter.kind == AdapterKind::kNone
           ? "add them to model.train (model.embed_tokens.weight, lm_head.weight), or "
             "train with model.train = all"
           : "name them in adapter.also_train (embed_tokens, lm_head)") +
      ", or use a template without these tokens");
}

void warn_of_zero_adapter(const RunConfig& config) {
  if (!rule_of(config.optimizer.name).relative) return;
  log::warn(
      "adapter.kind = " + std::string(word_of(config.adapter.kind)) + " begins with " +
      (config.adapter.kind == AdapterKind::kAdalora ? "numbers E" : "second matrices") +
      " of zeros, which will hardly move: a step of " +
      std::string(word_of(config.optimizer.name)) +
      " is a share of the weight's norm. Train with optimizer.name = adamw");
}

}  // namespace lowmem::train

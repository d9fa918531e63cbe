#include "tokenizer/vocabulary.h"

#include <algorithm>

#include "lowmem/core/error.h"

namespace lowmem::tokenization {

int32_t checked_id(int64_t id, const std::string& where) {
  if (id < 0 || id >= kIdLimit)
    throw Error(where,
                "is the id " + std::to_string(id) + ", outside 0 to " +
                    std::to_string(kIdLimit - 1),
                kFetchAgain);
  return static_cast<int32_t>(id);
}

Vocabulary::Vocabulary(const JsonField& field) {
  if (!field.is_object()) field.fail("is not an object");
  by_id_.reserve(field.raw().size());
  for (auto entry = field.raw().begin(); entry != field.raw().end(); ++entry) {
    if (!entry->is_number_integer()) field.at(entry.key()).fail("is not an integer");
    int64_t id = entry->get<int64_t>();
    if (entry->is_number_unsigned() && entry->get<uint64_t>() > INT64_MAX) id = INT64_MAX;
    if (id < 0 || id >= kIdLimit) checked_id(id, field.at(entry.key()).where());
    by_id_.emplace_back(&entry.key(), static_cast<int32_t>(id));
  }
  std::sort(by_id_.begin(), by_id_.end(),
            [](const auto& a, const auto& b) { return a.second < b.second; });
  for (size_t i = 0; i < by_id_.size(); ++i) {
    const auto& [piece, id] = by_id_[i];
    if (!pieces_.add(id, *piece))
      field.fail("gives the id " + std::to_string(id) + " to both \"" +
                 *by_id_[i - 1].first + "\" and \"" + *piece + "\"");
  }
}

int32_t Vocabulary::find(const std::string& piece) const { return pieces_.find(piece); }

}  // namespace lowmem::tokenization

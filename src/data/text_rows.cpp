// {"text": ...}: plain text, all of which is learned.
#include "data/draft.h"
#include "data/formats.h"
#include "data/row_file.h"
#include "lowmem/core/error.h"

namespace lowmem {

Example text_example(const nlohmann::json& row, const std::string& where,
                     const Tokenizer& tokenizer) {
  const std::string text = text_at(row, "text", where);
  if (text.empty()) throw Error(where + " text", "is empty", kRepairLine);
  const auto ids = tokenizer.encode(text);
  Draft draft;
  const auto bos = tokenizer.adds_bos() ? tokenizer.bos_id() : std::nullopt;
  if (bos && (ids.empty() || ids.front() != *bos)) draft.add(*bos, true);
  draft.add(ids, 0);
  if (draft.ids().empty() || draft.ids().back() != *tokenizer.eos_id())
    draft.add(*tokenizer.eos_id(), true);
  return std::move(draft).finish();
}

}  // namespace lowmem

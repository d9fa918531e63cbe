#include "data/row_file.h"

#include "lowmem/core/error.h"
#include "lowmem/data/jsonl.h"
#include "lowmem/metrics/progress.h"

namespace lowmem {

void for_each_row(const std::filesystem::path& path, int64_t limit, BadRows* skipped,
                  const TakeRow& take) {
  JsonlReader reader(path);
  metrics::Progress progress(
      "reading " + path.string(),
      limit == 0 ? static_cast<int64_t>(std::filesystem::file_size(path)) : limit,
      limit == 0 ? metrics::Progress::Unit::kBytes : metrics::Progress::Unit::kItems);
  BadRows bad;
  int64_t taken = 0;
  for (int64_t number = 0; (limit == 0 || taken < limit) && reader.next_line();
       ++number) {
    try {
      take(
          reader.object(), [&] { return reader.ordered_object(); }, number,
          reader.where());
      ++taken;
      progress.add(limit == 0 ? reader.bytes() - progress.done() : 1);
    } catch (const Error& error) {
      if (skipped == nullptr) throw;
      if (bad.count++ == 0) bad.first = error.thing() + " " + error.problem();
    }
  }
  const std::string remedy =
      "Give a JSONL file of rows: hellaswag, text, prompt_completion or chat";
  if (taken == 0 && bad.count > 0)
    throw Error(path.string(),
                "has no row that can be read; of " + std::to_string(bad.count) +
                    " bad ones the first: " + bad.first,
                remedy);
  if (taken == 0) throw Error(path.string(), "has no rows", remedy);
  if (skipped != nullptr && bad.count > 0) {
    if (skipped->count == 0) skipped->first = bad.first;
    skipped->count += bad.count;
  }
}

bool has(const nlohmann::json& row, const char* key) {
  return row.contains(key) && !row[key].is_null();
}

std::string text_at(const nlohmann::json& row, const char* key,
                    const std::string& where) {
  const std::string thing = where + " " + key;
  if (!has(row, key)) throw Error(thing, "is missing", kRepairLine);
  if (!row[key].is_string()) throw Error(thing, "is not a string", kRepairLine);
  return row[key].get<std::string>();
}

}  // namespace lowmem

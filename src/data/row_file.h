#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "lowmem/data/example.h"

// What the readers of all formats share.
namespace lowmem {

// The remedy of every bad row.
inline const std::string kRepairLine = "Repair or remove the line";

// `ordered`: the row again, with its keys in the order of the file.
using Ordered = std::function<nlohmann::ordered_json()>;
using TakeRow = std::function<void(const nlohmann::json& row, const Ordered& ordered,
                                   int64_t number, const std::string& where)>;

// Gives the objects of a JSONL file to `take`, with their number in the file from 0 and
// the beginning of an error about them, until `limit` are taken (0: all). A bad row is an
// Error, of `take` or of the reader; where `skipped` is given, it is left out and added
// to that instead. Throws Error for a file of which nothing was taken.
void for_each_row(const std::filesystem::path& path, int64_t limit, BadRows* skipped,
                  const TakeRow& take);

// Whether the member `key` is there, and not null.
bool has(const nlohmann::json& row, const char* key);

// The text of member `key`. Throws Error beginning with `where` where it is missing, null
// or no string.
std::string text_at(const nlohmann::json& row, const char* key, const std::string& where);

}  // namespace lowmem

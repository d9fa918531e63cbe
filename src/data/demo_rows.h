#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace lowmem::demo {

struct Splits {
  std::string train;  // JSON lines
  std::string val;
};

// Rows of the official HellaSwag schema; both counts are multiples of four.
Splits write_rows(uint64_t seed, int64_t train_rows, int64_t val_rows);

// Every word that a row's scored or trained text can hold, each with the space before it
// where it has one: " dough", "Baking". In ascending order.
std::set<std::string> words();

}  // namespace lowmem::demo

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lowmem/weights/names.h"
#include "lowmem/weights/table.h"

namespace lowmem::weights {

// Marks the weights that `train` selects as trained, and all others as not; tensors that
// are there want a gradient, or none. `train` is "layers" (all of model.layers), "all",
// or patterns over Hugging Face's names in which * stands for any text. Throws Error as
// check_selection() does.
void select(Table& table, const std::vector<std::string>& train);

// The same for what `trains` says.
void select(Table& table, const std::function<bool(const Spec&)>& trains);

// Throws Error for the first of `train` that selects none of the weights.
void check_selection(const std::vector<Spec>& specs,
                     const std::vector<std::string>& train);

// Whether a weight is among those to train. A pattern may also name the tensor that files
// join it with others in: all of them are meant.
bool selects(const std::vector<std::string>& train, const Spec& spec);

}  // namespace lowmem::weights

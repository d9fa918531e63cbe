#pragma once

#include <string>

// Names of weights and modules, and what means them. No LibTorch.
namespace lowmem::weights {

// Whether `name` matches `pattern`, in which * stands for any text, also none.
bool matches(const std::string& pattern, const std::string& name);

// Whether an entry of adapter.targets, exclude, also_train or a pattern means a module:
// its whole name or the end of it after a dot, or a pattern in which * stands for any
// text.
bool means_module(const std::string& entry, const std::string& module);

// The module of a weight: its name without ".weight" or ".bias".
std::string module_of(const std::string& weight);

}  // namespace lowmem::weights

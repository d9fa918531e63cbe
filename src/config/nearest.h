#pragma once

#include <string>
#include <string_view>
#include <vector>

// "Did you mean": the valid name that an unknown one was most likely meant to be.
namespace lowmem {

// Of `words`, the nearest to `word`; empty when none is near. The first of equals.
std::string_view nearest_word(std::string_view word,
                              const std::vector<std::string_view>& words);

// The remedy for an unknown key ("section.key", or what stood at the top of the file):
// names the nearest key, in whichever section it is, else the keys of the section.
std::string key_remedy(std::string_view unknown);

}  // namespace lowmem

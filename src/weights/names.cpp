#include "lowmem/weights/names.h"

namespace lowmem::weights {

bool matches(const std::string& pattern, const std::string& name) {
  // Greedy with one point to come back to: linear but for the text after a star.
  size_t p = 0, n = 0, star = std::string::npos, retry = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      retry = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p, ++n;
    } else if (star != std::string::npos) {
      p = star + 1;
      n = ++retry;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool means_module(const std::string& entry, const std::string& module) {
  if (entry.find('*') != std::string::npos) return matches(entry, module);
  return module == entry || module.ends_with("." + entry);
}

std::string module_of(const std::string& weight) {
  return weight.substr(0, weight.rfind('.'));
}

}  // namespace lowmem::weights

#include "lowmem/train/arithmetic.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "lowmem/core/version.h"

namespace lowmem::train {
namespace {

// https://uxlfoundation.github.io/oneDNN (CPU dispatcher control, math mode), Intel's
// "Conditional Numerical Reproducibility Control" and ATen/native/DispatchStub.cpp.
constexpr const char* kVariables[] = {
    "ATEN_CPU_CAPABILITY",      "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",         "ONEDNN_CPU_ISA_HINTS",
    "DNNL_CPU_ISA_HINTS",       "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE", "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",  "MKL_DYNAMIC",
    "MKL_NUM_THREADS",          "MKL_DOMAIN_NUM_THREADS",
};

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (const size_t colon = line.find(": ");
        line.starts_with("model name") && colon != std::string::npos)
      return line.substr(colon + 2);
  return "unknown";
}

bool flushes_denormals() {
  volatile float smallest = 1e-40F;
  return smallest * 1.0F == 0;
}

}  // namespace

Arithmetic arithmetic() {
  Arithmetic now = {{"lowmem_train", version()},
                    {"libtorch", TORCH_VERSION},
                    {"processor", processor()},
                    {"aten_instructions", at::get_cpu_capability()},
                    {"threads", std::to_string(at::get_num_threads())},
                    {"denormals", flushes_denormals() ? "flushed to 0" : "kept"}};
  for (const char* name : kVariables)
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0')
      now[name] = value;
  return now;
}

std::string differences(const Arithmetic& before, const Arithmetic& now) {
  if (before.empty()) return "";
  const auto value_in = [](const Arithmetic& all, const std::string& name) {
    const auto found = all.find(name);
    return found == all.end() ? "none" : found->second;
  };
  std::set<std::string> names;
  for (const Arithmetic* each : {&before, &now})
    for (const auto& [name, value] : *each) names.insert(name);
  std::string text;
  for (const std::string& name : names) {
    const std::string was = value_in(before, name), is = value_in(now, name);
    if (was == is) continue;
    text += (text.empty() ? "" : ", ") + name + " = " + is + " after " + was;
  }
  return text;
}

}  // namespace lowmem::train

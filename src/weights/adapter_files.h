#pragma once

// The files of an adapter's folder, and what PEFT puts before its tensors' names.
namespace lowmem::weights {

inline constexpr const char* kConfig = "adapter_config.json";
inline constexpr const char* kTensors = "adapter_model.safetensors";
inline constexpr const char* kPrefix = "base_model.model.";

}  // namespace lowmem::weights

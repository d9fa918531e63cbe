#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace lowmem::model {

// What a family of models differs in from Llama, as one row. A family whose block is
// really another one also needs a flag in model/config and its lines in
// model/layers. Source: transformers 5.17, models/<model_type>.
struct Family {
  std::string_view model_type;    // config.json's
  std::string_view architecture;  // the only one of config.json's "architectures"

  // Keys of config.json that this family reads beside those that all do. Such a key in
  // another family's config is refused, unless its value says that nothing is done.
  std::array<std::string_view, 8> keys = {};

  // What a key that is absent stands for.
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  int64_t max_position_embeddings = 2048;
  int64_t num_key_value_heads = 0;  // 0: as many as there are heads
  int64_t head_dim = 0;             // 0: hidden_size over the heads
  int64_t sliding_window = 0;       // 0: none
  bool tie_word_embeddings = false;

  // Which layers look through sliding_window.
  enum class Window {
    kNone,           // none
    kEvery,          // every
    kUpper,          // with use_sliding_window: those from max_window_layers on
    kWithoutRotary,  // with use_sliding_window: those that no_rope_layers names
  };
  Window window = Window::kNone;

  bool query_key_value_bias = false;  // always, whatever config.json says
  bool head_norms = false;            // q and k go through a norm over head_dim, each
  bool fused_names = false;           // files have qkv_proj and gate_up_proj

  bool reads(std::string_view key) const;
};

std::span<const Family> families();

// Null where there is none of that model_type, or of that architecture.
const Family* find_family(std::string_view model_type);
const Family* find_architecture(std::string_view architecture);

// "llama, mistral, ..."
std::string family_names();

}  // namespace lowmem::model

#include "config_parts.h"

namespace lowmem::model {
namespace {

using nlohmann::json;
using Window = Family::Window;

// A list with an item a layer at least; empty where there is none.
std::vector<json> list_of(const ConfigReader& in, const Family& family, const char* key,
                          int64_t layers) {
  if (!family.reads(key) || !in.has(key)) return {};
  const json& list = in.at(key);
  if (!list.is_array() || static_cast<int64_t>(list.size()) < layers)
    in.fail(key, "must be a list with an item for each of the " + std::to_string(layers) +
                     " layers");
  return {list.begin(), list.end()};
}

// In no_rope_layers, 0 is a layer without rotary.
void read_rotary(const ConfigReader& in, const Family& family, Config& config) {
  if (!family.reads("no_rope_layers")) return;
  const auto list = list_of(in, family, "no_rope_layers", config.num_hidden_layers);
  const int64_t interval = in.integer("no_rope_layer_interval", 4);
  for (size_t i = 0; i < config.layers.size(); ++i) {
    if (!list.empty() && list[i] != 0 && list[i] != 1)
      in.fail("no_rope_layers", "must hold 0 and 1 alone");
    config.layers[i].rotary =
        list.empty() ? (static_cast<int64_t>(i) + 1) % interval != 0 : list[i] == 1;
  }
}

// Tokens, 0 for no window.
int64_t window_of(const ConfigReader& in, const Family& family) {
  if (family.window != Window::kEvery && !in.boolean("use_sliding_window", false))
    return 0;
  if (!in.object().contains("sliding_window")) return family.sliding_window;
  return in.has("sliding_window") ? in.integer("sliding_window") : 0;
}

// The first layer with a window, where all before it have none.
size_t first_with_window(const ConfigReader& in) {
  if (in.has("max_window_layers") && in.at("max_window_layers") == 0) return 0;
  return static_cast<size_t>(in.integer("max_window_layers", 28));
}

bool has_window(Window window, const Config::Layer& layer, size_t place, size_t first) {
  return window == Window::kEvery || (window == Window::kUpper && place >= first) ||
         (window == Window::kWithoutRotary && !layer.rotary);
}

void read_windows(const ConfigReader& in, const Family& family, Config& config) {
  if (family.window == Window::kNone) return;
  config.sliding_window = window_of(in, family);
  const auto types = list_of(in, family, "layer_types", config.num_hidden_layers);
  const size_t first = family.reads("max_window_layers") ? first_with_window(in) : 0;
  bool any = false;
  for (size_t i = 0; i < config.layers.size(); ++i) {
    Config::Layer& layer = config.layers[i];
    if (!types.empty() && types[i] != "sliding_attention" && types[i] != "full_attention")
      in.fail("layer_types", "holds a type that is not implemented",
              "Use a model of full_attention and sliding_attention");
    layer.window = types.empty() ? has_window(family.window, layer, i, first)
                                 : types[i] == "sliding_attention";
    if (!types.empty() && layer.window && config.sliding_window == 0)
      in.fail("layer_types", "has sliding_attention, and there is no sliding_window");
    any = any || layer.window;
  }
  // A window that no text is longer than is none.
  if (any && config.sliding_window > 0 &&
      config.sliding_window < config.max_position_embeddings)
    return;
  config.sliding_window = 0;
  for (Config::Layer& layer : config.layers) layer.window = false;
}

}  // namespace

void read_layers(const ConfigReader& in, const Family& family, Config& config) {
  config.layers.resize(static_cast<size_t>(config.num_hidden_layers));
  read_rotary(in, family, config);
  read_windows(in, family, config);
}

}  // namespace lowmem::model

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <tuple>

#include "config_parts.h"

namespace lowmem::model {
namespace {

void refuse_other_keys_of(const ConfigReader& rope) {
  static constexpr auto kKnown = std::to_array<std::string_view>(
      {"rope_type", "type", "factor", "low_freq_factor", "high_freq_factor",
       "original_max_position_embeddings", "rope_theta", "partial_rotary_factor"});
  if (rope.positive("partial_rotary_factor", 1.0) != 1.0)
    rope.fail("partial_rotary_factor", "other than 1 is not implemented",
              "Use a model whose heads are rotated whole");
  for (const auto& item : rope.object().items())
    if (!item.value().is_null() &&
        std::find(kKnown.begin(), kKnown.end(), item.key()) == kKnown.end())
      rope.fail(item.key(), "is not implemented", "Use a model without it");
}

// One of the two objects. `top` is the whole file.
void read_scaling(const ConfigReader& top, const ConfigReader& rope, Config& config) {
  config.rope_theta = rope.positive("rope_theta", config.rope_theta);
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  const auto known = {"default", "linear", "llama3"};
  if (std::find(known.begin(), known.end(), type) == known.end())
    rope.fail(rope.has("rope_type") ? "rope_type" : "type",
              "is a rotary scaling this program does not implement",
              "Use a model with default, linear or llama3 scaling");
  if (rope.has("rope_type") && rope.has("type") &&
      rope.at("rope_type") != rope.at("type"))
    rope.fail("type", "contradicts rope_type", "Remove the one that is not the model's");
  refuse_other_keys_of(rope);
  if (type == "linear") {
    config.rope_scaling = RopeScaling::kLinear;
    config.rope_factor = rope.positive("factor");
  } else if (type == "llama3") {
    config.rope_scaling = RopeScaling::kLlama3;
    config.rope_factor = rope.positive("factor");
    config.rope_low_freq_factor = rope.positive("low_freq_factor");
    config.rope_high_freq_factor = rope.positive("high_freq_factor");
    // transformers takes the one at the top where there is one.
    constexpr const char* kOriginal = "original_max_position_embeddings";
    config.rope_original_max_position_embeddings =
        (top.has(kOriginal) ? top : rope).integer(kOriginal);
    if (config.rope_high_freq_factor <= config.rope_low_freq_factor)
      rope.fail("high_freq_factor", "must be larger than low_freq_factor");
  }
}

auto scaling_of(const Config& config) {
  return std::make_tuple(config.rope_scaling, config.rope_factor,
                         config.rope_low_freq_factor, config.rope_high_freq_factor,
                         config.rope_original_max_position_embeddings);
}

}  // namespace

// transformers 4 writes rope_theta and rope_scaling, 5 both in rope_parameters. Where a
// file has both, 4 and 5 read their own: what differs would be two models.
void read_rope(const ConfigReader& in, Config& config) {
  config.rope_theta = in.positive("rope_theta", config.rope_theta);
  std::optional<Config> read;
  std::optional<double> theta;
  if (in.has("rope_theta")) theta = config.rope_theta;
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!in.has(key) || in.at(key).empty()) continue;
    if (!in.at(key).is_object()) in.fail(key, "must be an object");
    const ConfigReader rope(in.at(key), in.where() + " " + key);
    Config own = config;
    read_scaling(in, rope, own);
    if (rope.has("rope_theta")) {
      if (theta && *theta != own.rope_theta)
        rope.fail("rope_theta", "contradicts another rope_theta of the file",
                  "Remove the one that is not the model's");
      theta = config.rope_theta = own.rope_theta;
    }
    if (read && scaling_of(*read) != scaling_of(own))
      in.fail("rope_scaling", "contradicts rope_parameters", "Remove one of the two");
    read = own;
  }
  if (read) config = *read;
}

}  // namespace lowmem::model

#include "lowmem/weights/stored_form.h"

#include <nlohmann/json.hpp>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/weights/carried_files.h"

namespace lowmem::weights {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kSection = "quantization_config";
constexpr const char* kOther =
    "Give the model in bf16, fp16 or fp32 that the folder was made of";

bool is_true(const json& section, const char* key) {
  return section.contains(key) && section[key] == json(true);
}

}  // namespace

Stored stored_in(const fs::path& folder) {
  const fs::path file = folder / "config.json";
  return stored_by(json::parse(read_file(file, kLargestConfig), nullptr, false), file);
}

Stored stored_by(const json& config, const fs::path& file) {
  if (!config.is_object() || !config.contains(kSection)) return Stored::kPlain;
  const json& section = config[kSection];
  if (section.is_null() || section.empty()) return Stored::kPlain;
  const fs::path place = file.string() + " " + kSection;
  if (!section.is_object()) throw Error(place.string(), "is not an object", kOther);
  const json method = section.contains("quant_method") ? section["quant_method"] : json();
  const auto what = [&](const std::string& text) {
    return "says " + text + ", which is not read";
  };
  const auto refuse = [&](const std::string& problem) {
    throw Error(place.string(), problem, kOther);
  };
  if (!method.is_null() && method != json("bitsandbytes"))
    refuse(what("quant_method = " + method.dump().substr(0, 60)));
  if (is_true(section, "load_in_8bit")) return Stored::kInt8;
  if (!is_true(section, "load_in_4bit"))
    refuse(what("neither load_in_4bit nor load_in_8bit"));
  const auto text = [&](const char* key, const char* usual) {
    return section.contains(key) && section[key].is_string()
               ? section[key].get<std::string>()
               : std::string(usual);
  };
  if (const std::string type = text("bnb_4bit_quant_type", "fp4"); type != "nf4")
    refuse(what("bnb_4bit_quant_type = " + type));
  if (const std::string type = text("bnb_4bit_quant_storage", "uint8"); type != "uint8")
    refuse(what("bnb_4bit_quant_storage = " + type));
  return is_true(section, "bnb_4bit_use_double_quant") ? Stored::kNf4Double
                                                       : Stored::kNf4;
}

std::string settings_of(Stored form) {
  switch (form) {
    case Stored::kPlain:
      return "model.quantize = none";
    case Stored::kInt8:
      return "model.quantize = int8";
    case Stored::kNf4:
      return "model.quantize = nf4 with model.double_quantization = false";
    case Stored::kNf4Double:
      break;
  }
  return "model.quantize = nf4 with model.double_quantization = true";
}

}  // namespace lowmem::weights

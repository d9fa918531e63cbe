#include "lowmem/weights/carried_files.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/io/atomic_file.h"

namespace lowmem::weights {
namespace {

// Licenses and what belongs to them, in any case and with any ending.
constexpr std::string_view kLegal[] = {"license", "licence", "notice", "copying",
                                       "use_policy"};

bool is_legal(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::any_of(std::begin(kLegal), std::end(kLegal), [&](std::string_view word) {
    return name.starts_with(word) &&
           (name.size() == word.size() ||
            std::isalnum(static_cast<unsigned char>(name[word.size()])) == 0);
  });
}

// The folder of templates beside the one that is used by default.
constexpr const char* kTemplates = "additional_chat_templates";

constexpr const char* kCarriedOver[] = {
    "generation_config.json",  "tokenizer.json",    "tokenizer.model",
    "tokenizer_config.json",   "vocab.json",        "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json",
};

// Names of what lies in a folder, in order; none where it is no folder.
std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code code;
  for (std::filesystem::directory_iterator at(folder, code), end; !code && at != end;
       at.increment(code)) {
    std::error_code other;
    if (!at->is_directory(other)) names.push_back(at->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void carry(const std::filesystem::path& source, const std::filesystem::path& folder,
           const std::string& name) {
  if (is_there(source / name))
    write_file_atomically(folder / name, read_file(source / name));
}

}  // namespace

void create_model_folder(const std::filesystem::path& config_file,
                         const std::filesystem::path& folder, DType dtype) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code)
    throw Error(folder.string(), "cannot be made (" + code.message() + ")",
                "Check the path and its permissions");

  // Ordered, so that the file keeps the look its author gave it.
  nlohmann::ordered_json config = nlohmann::ordered_json::parse(
      read_file(config_file, kLargestConfig), nullptr, false);
  if (!config.is_object())
    throw Error(config_file.string(), "is not a JSON object",
                "Repair the file, or fetch it again");
  // transformers 5 writes the one, 4 the other; where both are there they must agree.
  const char* type = dtype == DType::kF32 ? "float32" : "bfloat16";
  for (const char* key : {"dtype", "torch_dtype"})
    if (config.contains(key)) config[key] = type;
  if (!config.contains("dtype")) config["torch_dtype"] = type;
  write_file_atomically(folder / "config.json", config.dump(2) + "\n");

  const auto source = config_file.parent_path();
  for (const char* name : kCarriedOver) carry(source, folder, name);
  for (const std::string& name : names_in(source))
    if (is_legal(name)) carry(source, folder, name);
  const std::vector<std::string> templates = names_in(source / kTemplates);
  if (!templates.empty()) std::filesystem::create_directories(folder / kTemplates, code);
  for (const std::string& name : templates)
    if (name.ends_with(".jinja")) carry(source / kTemplates, folder / kTemplates, name);
}

}  // namespace lowmem::weights

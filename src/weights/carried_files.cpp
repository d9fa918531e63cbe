#include "lowmem/weights/carried_files.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/log.h"
#include "lowmem/io/atomic_file.h"
#include "lowmem/io/sync.h"

namespace lowmem::weights {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCarriedOver[] = {
    "generation_config.json",  "tokenizer.json",    "tokenizer.model",
    "tokenizer_config.json",   "vocab.json",        "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json",
};

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

// Names of what lies in a folder, in order; none where it is no folder.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator at(folder, code), end; !code && at != end;
       at.increment(code)) {
    std::error_code other;
    if (!at->is_directory(other)) names.push_back(at->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool lies_below(const fs::path& folder, const fs::path& path) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first ==
         folder.end();
}

// Of the cache of huggingface_hub, in which NAME/snapshots/REVISION is a folder of links
// to NAME/blobs. Both paths without links.
bool is_blob_of(const fs::path& folder, const fs::path& target) {
  for (fs::path at = folder; at.has_relative_path(); at = at.parent_path())
    if (at.parent_path().filename() == "snapshots")
      return target.parent_path() == at.parent_path().parent_path() / "blobs";
  return false;
}

}  // namespace

std::optional<fs::path> own_file(const fs::path& folder, const fs::path& name) {
  const fs::path path = folder / name;
  if (!is_there(path)) return std::nullopt;
  std::error_code code;
  const fs::path root = fs::canonical(folder.empty() ? "." : folder, code);
  const fs::path target = code ? fs::path() : fs::canonical(path, code);
  if (code)
    throw Error(path.string(), "cannot be read (" + code.message() + ")",
                "Repair the link, or remove it");
  if (lies_below(root, target) || is_blob_of(root, target)) return target;
  log::warn(path.string() + " is a link out of the model folder, to " + target.string() +
            ": it is not copied into the result; put the file itself there");
  return std::nullopt;
}

std::vector<CarriedFile> carried_files(const fs::path& folder) {
  std::vector<std::string> names(std::begin(kCarriedOver), std::end(kCarriedOver));
  for (const std::string& name : names_in(folder))
    if (is_legal(name)) names.push_back(name);
  for (const std::string& name : names_in(folder / kTemplates))
    if (name.ends_with(".jinja")) names.push_back(std::string(kTemplates) + "/" + name);
  std::vector<CarriedFile> files;
  for (const std::string& name : names)
    if (const auto from = own_file(folder, name)) files.push_back({name, *from});
  return files;
}

void check_carried_files(const fs::path& folder) {
  for (const CarriedFile& file : carried_files(folder)) read_file(file.from);
}

void carry_files(const fs::path& from, const fs::path& into) {
  for (const CarriedFile& file : carried_files(from)) {
    make_folders((into / file.name).parent_path());
    write_file_atomically(into / file.name, read_file(file.from));
  }
}

void create_model_folder(const std::filesystem::path& config_file,
                         const std::filesystem::path& folder, DType dtype,
                         const std::string& quantization) {
  make_folders(folder);

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
  config.erase("quantization_config");
  if (!quantization.empty())
    config["quantization_config"] = nlohmann::ordered_json::parse(quantization);
  write_file_atomically(folder / "config.json", config.dump(2) + "\n");

  carry_files(config_file.parent_path(), folder);
}

}  // namespace lowmem::weights

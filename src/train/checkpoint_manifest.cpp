#include "checkpoint_manifest.h"

#include "lowmem/config/yaml.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/version.h"
#include "lowmem/io/atomic_file.h"

namespace lowmem::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kManifest = "manifest.json";
// 2: weights that are not trained may be missing. 1 is read as well.
constexpr int64_t kFormat = 2;
constexpr const char* kRemedy = "Use the checkpoint before it";

// Paths need not be UTF-8, as JSON must: what is not is replaced, and no path has to read
// back equal.
std::string text_of(const json& manifest, int indent) {
  return manifest.dump(indent, ' ', /*ensure_ascii=*/false,
                       json::error_handler_t::replace);
}

std::string checksum_of(const json& manifest) {
  const std::string text = text_of(manifest, -1);
  Checksum checksum;
  checksum.add(std::as_bytes(std::span(text)));
  return hexadecimal(checksum.value());
}

// Its text without the checksum must be what the checksum was made of.
json read_checked(const fs::path& path) {
  json manifest = read_json(path);
  std::string expected;
  if (manifest.is_object() && manifest.contains("checksum") &&
      manifest["checksum"].is_string()) {
    expected = manifest["checksum"];
    manifest.erase("checksum");
  }
  if (expected.empty() || expected != checksum_of(manifest))
    throw Error(path.string(), "does not match its checksum", kRemedy);
  return manifest;
}

void check_file(const fs::path& path, const json& entry) {
  std::error_code code;
  const auto bytes = fs::file_size(path, code);
  if (code) throw Error(path.string(), "is missing", kRemedy);
  if (bytes != entry.at("bytes").get<uintmax_t>())
    throw Error(path.string(),
                "has " + std::to_string(bytes) + " bytes, where " +
                    entry.at("bytes").dump() + " were written",
                kRemedy);
  if (hexadecimal(file_checksum(path)) != entry.at("checksum").get<std::string>())
    throw Error(path.string(), "does not match its checksum", kRemedy);
}

}  // namespace

void write_manifest(const fs::path& folder, const RunState& state, const json& updates,
                    const std::vector<ManifestFile>& files) {
  json manifest = {
      {"format", kFormat},
      {"program", version()},
      {"state",
       {{"step", state.step},
        {"cursor", {{"epoch", state.cursor.epoch}, {"offset", state.cursor.offset}}},
        {"config", to_yaml(state.config)},
        {"rows", state.rows},
        {"shape", state.shape},
        {"frozen", state.frozen},
        {"device", state.device},
        {"arithmetic", state.arithmetic},
        {"metrics", state.metrics},
        {"progress", state.progress}}},
      {"updates", updates},
      {"files", json::array()}};
  for (const ManifestFile& file : files)
    manifest["files"].push_back({{"name", file.name},
                                 {"bytes", file.bytes},
                                 {"checksum", hexadecimal(file.checksum)}});
  manifest["checksum"] = checksum_of(manifest);
  write_file_atomically(folder / kManifest, text_of(manifest, 1) + "\n");
}

Checkpoint read_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifest;
  const json manifest = read_checked(path);
  const int64_t format = manifest.value("format", int64_t{0});
  if (format < 1 || format > kFormat)
    throw Error(path.string(), "is of another version of the program", kRemedy);
  try {
    for (const json& entry : manifest.at("files"))
      check_file(folder / fs::path(entry.at("name").get<std::string>()).filename(),
                 entry);
    Checkpoint checkpoint;
    checkpoint.folder = folder;
    checkpoint.format = format;
    checkpoint.updates = manifest.at("updates");
    const json& state = manifest.at("state");
    checkpoint.state.step = state.at("step");
    checkpoint.state.cursor = {state.at("cursor").at("epoch"),
                               state.at("cursor").at("offset")};
    apply_yaml(checkpoint.state.config, state.at("config").get<std::string>(),
               path.string());
    checkpoint.state.rows = state.at("rows");
    checkpoint.state.shape = state.at("shape");
    if (format > 1) checkpoint.state.frozen = state.at("frozen");
    checkpoint.state.device = state.at("device");
    if (state.contains("arithmetic"))
      checkpoint.state.arithmetic = state.at("arithmetic").get<Arithmetic>();
    checkpoint.state.metrics = state.at("metrics");
    checkpoint.state.progress = state.at("progress");
    return checkpoint;
  } catch (const json::exception&) {
    throw Error(path.string(), "lacks a field of a checkpoint", kRemedy);
  }
}

}  // namespace lowmem::train

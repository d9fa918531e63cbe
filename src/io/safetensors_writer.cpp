#include "lowmem/io/safetensors_writer.h"

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "io/safetensors_header.h"
#include "lowmem/core/error.h"

namespace lowmem {
namespace {

// Length, JSON and the spaces that bring the data to a multiple of 8.
std::string make_header(const std::vector<TensorSpec>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadataKey)] = metadata;
  std::string text = header.dump();
  text.pop_back();  // the closing brace: an ordered_json looks up a name in linear time
  int64_t end = 0;
  for (const TensorSpec& tensor : tensors) {
    const int64_t begin = end;
    end += tensor.bytes();
    const nlohmann::ordered_json entry = {{"dtype", dtype_name(tensor.dtype)},
                                          {"shape", tensor.shape},
                                          {"data_offsets", {begin, end}}};
    if (text.size() > 1) text += ',';
    text += nlohmann::json(tensor.name).dump() + ':' + entry.dump();
  }
  text += '}';
  text.append((8 - text.size() % 8) % 8, ' ');

  std::string header_bytes;
  for (int shift = 0; shift < 64; shift += 8)
    header_bytes += static_cast<char>(static_cast<uint64_t>(text.size()) >> shift);
  return header_bytes + text;
}

void check_names(const std::vector<TensorSpec>& tensors) {
  std::map<std::string_view, int> uses;
  for (const TensorSpec& tensor : tensors)
    if (tensor.name == kMetadataKey || ++uses[tensor.name] > 1)
      throw std::logic_error("SafetensorsWriter: the name " + in_quotes(tensor.name) +
                             " is taken");
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::vector<TensorSpec> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path), tensors_(std::move(tensors)) {
  check_names(tensors_);
  const std::string header = make_header(tensors_, metadata);
  if (static_cast<int64_t>(header.size()) - 8 > kMaxHeaderBytes)
    throw Error(path.string(), "would need a header above the format's 100,000,000 bytes",
                "Write fewer tensors a file");
  int64_t bytes = static_cast<int64_t>(header.size());
  for (const TensorSpec& tensor : tensors_) bytes += tensor.bytes();
  file_.reserve(bytes);
  file_.write(header);
  skip_complete();
}

void SafetensorsWriter::write(std::string_view name, std::span<const std::byte> slice) {
  if (slice.empty()) return;
  if (is_complete() || tensors_[current_].name != name)
    throw std::logic_error("SafetensorsWriter: tensor " + in_quotes(name) +
                           " is not due");
  const auto bytes = static_cast<int64_t>(slice.size());
  if (bytes > tensors_[current_].bytes() - written_)
    throw std::logic_error("SafetensorsWriter: tensor " + in_quotes(name) +
                           " has fewer bytes");
  file_.write(slice);
  written_ += bytes;
  skip_complete();
}

void SafetensorsWriter::finish() {
  if (!is_complete())
    throw std::logic_error("SafetensorsWriter: tensor " +
                           in_quotes(tensors_[current_].name) + " lacks bytes");
  file_.commit();
}

void SafetensorsWriter::skip_complete() {
  while (!is_complete() && written_ == tensors_[current_].bytes()) {
    ++current_;
    written_ = 0;
  }
}

}  // namespace lowmem

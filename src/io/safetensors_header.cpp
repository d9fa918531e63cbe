#include "io/safetensors_header.h"

#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "lowmem/core/error.h"
#include "lowmem/core/plain_text.h"

namespace lowmem {
namespace {

// More dimensions than any tensor library takes.
constexpr size_t kMaxDimensions = 64;

std::optional<DType> dtype_from_name(std::string_view name) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF64, DType::kI64,
                      DType::kI32, DType::kI16, DType::kI8, DType::kU8, DType::kBool})
    if (dtype_name(dtype) == name) return dtype;
  return std::nullopt;
}

// Receives the header's JSON piece by piece. Each piece is taken or refused where it
// stands, so that nothing nests deeper than the format does and no key is lost to a later
// one of the same name.
class HeaderReader {
 public:
  HeaderReader(const std::string& file, SafetensorsHeader& header)
      : file_(file), header_(header) {}

  bool null() { return refuse("null"); }
  bool boolean(bool) { return refuse("true or false"); }
  bool number_integer(int64_t) { return refuse("a negative number"); }
  bool number_unsigned(uint64_t value) {
    if (at_ != At::kShape && at_ != At::kOffsets) refuse("a number");
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      refuse("a number of 2^63 or more");
    auto& list = at_ == At::kShape ? tensor_.shape : offsets_;
    if (list.size() == (at_ == At::kShape ? kMaxDimensions : 2))
      fail_in_tensor(at_ == At::kShape ? "has more than 64 dimensions"
                                       : "has more than two numbers in \"data_offsets\"");
    list.push_back(static_cast<int64_t>(value));
    return true;
  }
  bool number_float(double, const std::string&) {
    return refuse("a number that is not whole or is too large");
  }
  bool string(std::string& value) {
    if (at_ == At::kMetadata) {
      if (!header_.metadata.emplace(key_, std::move(value)).second)
        fail(header_thing(), "names " + in_quotes(key_) + " twice in \"__metadata__\"");
    } else if (at_ == At::kTensor && field_ == Field::kDType) {
      const auto dtype = dtype_from_name(value);
      if (!dtype)
        throw Error(tensor_thing(),
                    "holds elements of type " + in_quotes(value) +
                        ", which this program does not read",
                    "Use weights in F32, F16 or BF16");
      tensor_.dtype = *dtype;
    } else {
      refuse("a string");
    }
    return true;
  }
  bool binary(nlohmann::json::binary_t&) { return refuse("binary data"); }

  bool start_object(size_t) {
    if (at_ == At::kStart) {
      at_ = At::kHeader;
    } else if (at_ == At::kHeader && key_ == kMetadataKey) {
      if (std::exchange(has_metadata_, true))
        fail(header_thing(), "has \"__metadata__\" twice");
      at_ = At::kMetadata;
    } else if (at_ == At::kHeader) {
      tensor_ = {};
      tensor_.name = std::move(key_);
      has_dtype_ = has_shape_ = has_offsets_ = false;
      at_ = At::kTensor;
    } else {
      refuse("an object");
    }
    return true;
  }
  bool key(std::string& name) {
    key_ = std::move(name);
    if (at_ != At::kTensor) return true;
    bool* seen = nullptr;
    if (key_ == "dtype") field_ = Field::kDType, seen = &has_dtype_;
    if (key_ == "shape") field_ = Field::kShape, seen = &has_shape_;
    if (key_ == "data_offsets") field_ = Field::kOffsets, seen = &has_offsets_;
    if (seen == nullptr) fail_in_tensor("has an unknown field " + in_quotes(key_));
    if (std::exchange(*seen, true)) fail_in_tensor("has " + in_quotes(key_) + " twice");
    return true;
  }
  bool end_object() {
    if (at_ == At::kTensor) finish_tensor();
    at_ = at_ == At::kHeader ? At::kEnd : At::kHeader;
    return true;
  }

  bool start_array(size_t) {
    if (at_ != At::kTensor || field_ == Field::kDType) refuse("a list");
    at_ = field_ == Field::kShape ? At::kShape : At::kOffsets;
    if (at_ == At::kOffsets) offsets_.clear();
    return true;
  }
  bool end_array() {
    at_ = At::kTensor;
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::json::exception&) {
    return fail(header_thing(), "is not valid JSON at byte " + std::to_string(position));
  }

 private:
  enum class At { kStart, kHeader, kMetadata, kTensor, kShape, kOffsets, kEnd };
  enum class Field { kDType, kShape, kOffsets };

  std::string header_thing() const { return file_ + " header"; }
  std::string tensor_thing() const {
    return file_ + " tensor " + in_quotes(tensor_.name);
  }

  [[noreturn]] static bool fail(const std::string& thing, const std::string& problem) {
    throw Error(thing, problem, kDamaged);
  }
  [[noreturn]] bool fail_in_tensor(const std::string& problem) const {
    fail(tensor_thing(), problem);
  }

  // `found` stands where the format has something else.
  [[noreturn]] bool refuse(const std::string& found) const {
    switch (at_) {
      case At::kShape:
        fail_in_tensor("has " + found + " in \"shape\", where a size is expected");
      case At::kOffsets:
        fail_in_tensor("has " + found +
                       " in \"data_offsets\", where an offset is expected");
      case At::kTensor:
        fail_in_tensor("has " + found + " as " + in_quotes(key_) + ", where a " +
                       (field_ == Field::kDType ? "string" : "list of numbers") +
                       " is expected");
      case At::kMetadata:
        fail(header_thing(), "has " + found + " as " + in_quotes(key_) +
                                 " in \"__metadata__\", where a string is expected");
      case At::kHeader:
        fail(header_thing(),
             "has " + found + " as " + in_quotes(key_) + ", where an object is expected");
      case At::kStart:
      case At::kEnd:
        break;
    }
    fail(header_thing(), "is " + found + ", where an object is expected");
  }

  void finish_tensor() {
    if (!has_dtype_) fail_in_tensor("has no \"dtype\"");
    if (!has_shape_) fail_in_tensor("has no \"shape\"");
    if (!has_offsets_) fail_in_tensor("has no \"data_offsets\"");
    if (offsets_.size() != 2)
      fail_in_tensor("has fewer than two numbers in \"data_offsets\"");
    const int64_t begin = offsets_[0], end = offsets_[1];
    if (begin > end) fail_in_tensor("ends before it begins");
    int64_t bytes = dtype_size(tensor_.dtype);
    for (int64_t size : tensor_.shape)
      if (__builtin_mul_overflow(bytes, size, &bytes))
        fail_in_tensor("has a shape of more than 2^63 bytes");
    if (bytes != end - begin)
      fail_in_tensor("has a shape of " + std::to_string(bytes) +
                     " bytes, but a span of " + std::to_string(end - begin));
    tensor_.offset = begin;
    header_.tensors.push_back(std::move(tensor_));
  }

  const std::string& file_;
  SafetensorsHeader& header_;
  At at_ = At::kStart;
  std::string key_;
  bool has_metadata_ = false;
  TensorInfo tensor_;  // the one being read
  std::vector<int64_t> offsets_;
  Field field_ = Field::kDType;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
};

}  // namespace

std::string in_quotes(std::string_view name) {
  constexpr size_t kLongest = 200;
  return '"' + plain(first_bytes(name, kLongest)) +
         (name.size() > kLongest ? "...\"" : "\"");
}

SafetensorsHeader parse_safetensors_header(const std::string& file,
                                           std::string_view text) {
  const std::string thing = file + " header";
  if (!text.starts_with('{')) throw Error(thing, "does not begin with '{'", kDamaged);
  if (const size_t at = find_not_utf8(text); at != std::string_view::npos)
    throw Error(thing, "is not valid UTF-8 at byte " + std::to_string(at), kDamaged);
  // The JSON library takes a zero byte for the end of its input.
  if (const size_t at = text.find('\0'); at != std::string_view::npos)
    throw Error(thing, "has a zero byte at byte " + std::to_string(at), kDamaged);
  SafetensorsHeader header;
  HeaderReader reader(file, header);
  nlohmann::json::sax_parse(text.data(), text.data() + text.size(), &reader);
  return header;
}

}  // namespace lowmem

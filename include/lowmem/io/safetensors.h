#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lowmem/core/dtype.h"
#include "lowmem/io/descriptor.h"

namespace lowmem {

// A tensor as a weight file describes it. No dimensions: a scalar, one element.
struct TensorSpec {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;

  int64_t count() const;  // elements
  int64_t bytes() const { return count() * dtype_size(dtype); }
};

struct TensorInfo : TensorSpec {
  int64_t offset = 0;  // of the first byte, from the beginning of the file; any alignment
};

// A safetensors file, open for reading: 8 bytes of header length, a JSON header, the data
// (https://huggingface.co/docs/safetensors). Opening reads and checks the header alone;
// anything the format forbids throws Error naming the file, the tensor and the reason.
//
// The data is read, not mapped: it is never resident in the process but where the caller
// puts it, and a file cut short meanwhile is an Error, not a signal. Reading is
// thread-safe.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  // In the order of their data.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  // The strings of `__metadata__`; empty where there is none.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Null if there is none of that name. O(log n).
  const TensorInfo* find(std::string_view name) const;

  // Bytes [offset, offset + destination.size()) of `tensor`, which must be one of
  // tensors(); the range must lie in it.
  void read(const TensorInfo& tensor, int64_t offset,
            std::span<std::byte> destination) const;

  // The whole tensor as `to`, F32 or BF16 (see io/convert.h), into `destination` of
  // count() elements. Extra memory: 1 MiB, none where the types are equal. Throws Error
  // where the tensor does not hold floating-point numbers.
  void read_as(DType to, const TensorInfo& tensor,
               std::span<std::byte> destination) const;

 private:
  std::filesystem::path path_;
  Descriptor file_;
  std::vector<TensorInfo> tensors_;
  std::vector<size_t> by_name_;  // indices into tensors_
  std::map<std::string, std::string> metadata_;
};

}  // namespace lowmem

#include "lowmem/io/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <numeric>

#include "io/safetensors_header.h"
#include "io/system_error.h"
#include "lowmem/core/units.h"
#include "lowmem/io/convert.h"

namespace lowmem {
namespace {

constexpr int64_t kLengthBytes = 8;

// Opens without waiting (a named pipe would) and gives the size.
int64_t open_regular(const std::filesystem::path& path, Descriptor& file) {
  file = Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!file.is_open() || ::fstat(file.get(), &status) != 0)
    throw system_error(path, "cannot be read", errno);
  if (!S_ISREG(status.st_mode))
    throw Error(path.string(), "is not a file, where weights are expected",
                "Give the path of a safetensors file");
  return status.st_size;
}

void read_at(const std::filesystem::path& path, int file, int64_t offset,
             std::span<std::byte> destination) {
  while (!destination.empty()) {
    const ssize_t got = ::pread(file, destination.data(), destination.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw system_error(path, "cannot be read", errno);
    if (got == 0)
      throw Error(path.string(),
                  "ended at byte " + std::to_string(offset) + " while being read",
                  "Something cut it short: fetch it again, and leave it alone meanwhile");
    destination = destination.subspan(static_cast<size_t>(got));
    offset += got;
  }
}

int64_t read_header_length(const std::filesystem::path& path, int file, int64_t size) {
  const std::string whole = format_bytes(size);
  if (size < kLengthBytes)
    throw Error(path.string(), "is " + whole + " long, too short for a safetensors file",
                kDamaged);
  std::byte bytes[kLengthBytes];
  read_at(path, file, 0, bytes);
  if (std::string_view(reinterpret_cast<const char*>(bytes), 8) == "version ")
    throw Error(path.string(), "is a Git LFS pointer, not the weights themselves",
                "Fetch them with `git lfs pull` in its repository");
  uint64_t length = 0;
  for (int i = kLengthBytes - 1; i >= 0; --i)
    length = length << 8 | std::to_integer<uint64_t>(bytes[i]);
  if (length > static_cast<uint64_t>(size - kLengthBytes))
    throw Error(path.string() + " header",
                "claims a length of " + std::to_string(length) +
                    " bytes, more than the file of " + whole + " holds",
                kDamaged);
  if (length > static_cast<uint64_t>(kMaxHeaderBytes))
    throw Error(path.string() + " header",
                "claims a length of " + std::to_string(length) +
                    " bytes, above the format's limit of 100,000,000",
                kDamaged);
  return static_cast<int64_t>(length);
}

// Sorted by offset, the spans must follow one another from 0 to the end of the data.
void check_layout(const std::string& file, const std::vector<TensorInfo>& tensors,
                  int64_t data_bytes) {
  int64_t end = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.offset != end)
      throw Error(file + " tensor " + in_quotes(tensor.name),
                  "begins at byte " + std::to_string(tensor.offset) +
                      " of the data, which " +
                      (tensor.offset < end ? "overlaps the tensor before it, up to byte "
                                           : "leaves a hole after byte ") +
                      std::to_string(end),
                  kDamaged);
    end += tensor.bytes();  // no overflow: offset + bytes fitted when the header was read
  }
  if (end > data_bytes)
    throw Error(file,
                "is cut short: its tensors take " + std::to_string(end) +
                    " bytes, of which " + std::to_string(data_bytes) + " are there",
                kDamaged);
  if (end < data_bytes)
    throw Error(file,
                "has " + std::to_string(data_bytes - end) +
                    " bytes after the last of its tensors",
                kDamaged);
}

}  // namespace

int64_t TensorSpec::count() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

SafetensorsFile::SafetensorsFile(std::filesystem::path path) : path_(std::move(path)) {
  const int64_t size = open_regular(path_, file_);
  const int64_t length = read_header_length(path_, file_.get(), size);
  const int64_t data_begin = kLengthBytes + length;
  {
    std::string text(static_cast<size_t>(length), '\0');
    read_at(path_, file_.get(), kLengthBytes,
            std::as_writable_bytes(std::span(text.data(), text.size())));
    SafetensorsHeader header = parse_safetensors_header(path_.string(), text);
    tensors_ = std::move(header.tensors);
    metadata_ = std::move(header.metadata);
  }

  by_name_.resize(tensors_.size());
  std::iota(by_name_.begin(), by_name_.end(), size_t{0});
  // Empty tensors before the one that begins at the same byte.
  std::stable_sort(tensors_.begin(), tensors_.end(), [](const auto& a, const auto& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.bytes() < b.bytes();
  });
  const auto name = [this](size_t i) { return std::string_view(tensors_[i].name); };
  std::ranges::sort(by_name_, {}, name);
  const auto twice = std::ranges::adjacent_find(by_name_, {}, name);
  if (twice != by_name_.end())
    throw Error(path_.string() + " tensor " + in_quotes(name(*twice)),
                "is in the header twice", kDamaged);
  check_layout(path_.string(), tensors_, size - data_begin);
  for (TensorInfo& tensor : tensors_) tensor.offset += data_begin;
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto name_of = [this](size_t i) { return std::string_view(tensors_[i].name); };
  const auto at = std::ranges::lower_bound(by_name_, name, {}, name_of);
  return at != by_name_.end() && name_of(*at) == name ? &tensors_[*at] : nullptr;
}

void SafetensorsFile::read(const TensorInfo& tensor, int64_t offset,
                           std::span<std::byte> destination) const {
  assert(offset >= 0 && offset <= tensor.bytes());
  assert(static_cast<int64_t>(destination.size()) <= tensor.bytes() - offset);
  read_at(path_, file_.get(), tensor.offset + offset, destination);
}

void SafetensorsFile::read_as(DType to, const TensorInfo& tensor,
                              std::span<std::byte> destination) const {
  assert(static_cast<int64_t>(destination.size()) == tensor.count() * dtype_size(to));
  if (!can_convert(tensor.dtype, to))
    throw Error(path_.string() + " tensor " + in_quotes(tensor.name),
                "holds " + std::string(dtype_name(tensor.dtype)) +
                    " elements, which cannot become " + std::string(dtype_name(to)) +
                    " weights",
                "Use weights in F32, F16 or BF16");
  if (tensor.dtype == to) return read(tensor, 0, destination);

  const int64_t from_size = dtype_size(tensor.dtype), to_size = dtype_size(to);
  const int64_t slice = kMiB / from_size;
  std::vector<std::byte> buffer(
      static_cast<size_t>(std::min(slice, tensor.count()) * from_size));
  for (int64_t first = 0; first < tensor.count(); first += slice) {
    const int64_t count = std::min(slice, tensor.count() - first);
    read(tensor, first * from_size,
         std::span(buffer).first(static_cast<size_t>(count * from_size)));
    convert(tensor.dtype, buffer.data(), to, destination.data() + first * to_size, count);
  }
}

}  // namespace lowmem

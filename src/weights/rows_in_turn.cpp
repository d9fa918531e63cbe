#include "rows_in_turn.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <bit>
#include <exception>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "lowmem/core/units.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::weights {
namespace {

constexpr int64_t kSector = DirectFile::kAlignment;

// Rows of one of the matrices that are here for their turn.
struct Part {
  Room room;
  int64_t begin = 0, end = 0;
  Store::Ticket read = 0, written = 0;
};

// Two parts that take turns, of one matrix.
class Turns {
 public:
  Turns(LyingMatrix& matrix, int64_t rows)
      : matrix_(matrix),
        row_bytes_(matrix.tensor.size(1) * matrix.tensor.element_size()) {
    const bool alone = rows >= matrix.tensor.size(0);
    for (Part& part : parts_) {
      if (alone && &part != parts_.data()) break;
      part.room =
          Room(whole_sectors(rows * row_bytes_), matrix.item, matrix.tensor.device());
    }
  }
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;
  // Nothing may be read into memory that is no more, or written from it.
  ~Turns() {
    point(matrix_.tensor, nullptr);
    for (const Part& part : parts_)
      for (const Store::Ticket ticket : {part.read, part.written}) try {
          matrix_.store->wait(ticket);
        } catch (const std::exception&) {
          // An Error is under way already.
        }
  }

  void expect(size_t turn, int64_t begin, int64_t end) {
    Part& part = parts_[turn % 2];
    matrix_.store->wait(std::exchange(part.written, 0));
    part.begin = begin;
    part.end = end;
    if (matrix_.filled || memory::rehearsing())
      part.read =
          matrix_.store->read(matrix_.offset + begin * row_bytes_, bytes_of(part));
    else
      part.room.clear(whole_sectors((end - begin) * row_bytes_));
  }
  void bring(size_t turn) {
    Part& part = parts_[turn % 2];
    matrix_.store->wait(std::exchange(part.read, 0));
    // Where its first row would be, for kernels that count from there.
    const auto first = std::bit_cast<uintptr_t>(part.room.data()) -
                       static_cast<uintptr_t>(part.begin * row_bytes_);
    point(matrix_.tensor, std::bit_cast<std::byte*>(first));
  }
  void take_back(size_t turn) {
    Part& part = parts_[turn % 2];
    part.written =
        matrix_.store->write(matrix_.offset + part.begin * row_bytes_, bytes_of(part));
  }
  void settle() {
    for (Part& part : parts_) matrix_.store->wait(std::exchange(part.written, 0));
    matrix_.filled = true;
  }

 private:
  std::span<std::byte> bytes_of(const Part& part) const {
    return part.room.span(0, whole_sectors((part.end - part.begin) * row_bytes_));
  }

  LyingMatrix& matrix_;
  int64_t row_bytes_;
  std::array<Part, 2> parts_;
};

// At least so many rows that each matrix' begin and end in whole sectors, whatever the
// width of its elements.
int64_t height(const at::Tensor& matrix, int64_t step) {
  const int64_t rows = matrix.size(0), columns = matrix.size(1);
  constexpr int64_t kElements = 4 * kMiB;  // where nobody says how many
  const int64_t unit = kSector / std::gcd(kSector, columns);
  if (step == 0) return std::min(rows, (kElements / columns / unit + 1) * unit);
  return std::min(rows, std::lcm(step, unit));
}

}  // namespace

at::Tensor without_memory(at::IntArrayRef shape, at::ScalarType type,
                          c10::Device device) {
  const auto bytes =
      static_cast<size_t>(c10::multiply_integers(shape)) * c10::elementSize(type);
  auto storage = c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), bytes, at::DataPtr(nullptr, device),
      /*allocator=*/nullptr, /*resizable=*/false);
  at::Tensor tensor = at::detail::make_tensor<c10::TensorImpl>(
      c10::Storage(std::move(storage)),
      c10::DispatchKeySet(device.is_cpu() ? c10::DispatchKey::CPU
                                          : c10::DispatchKey::CUDA),
      c10::scalarTypeToTypeMeta(type));
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous(shape);
  return tensor;
}

void point(const at::Tensor& tensor, std::byte* to) {
  tensor.storage().unsafeGetStorageImpl()->set_data_ptr_noswap(
      at::DataPtr(to, tensor.device()));
}

void pass_rows(std::span<LyingMatrix* const> matrices, int64_t step, bool written,
               const std::function<void(int64_t begin, int64_t end)>& use) {
  const int64_t rows = matrices.front()->tensor.size(0);
  const int64_t together = height(matrices.front()->tensor, step);
  std::vector<std::unique_ptr<Turns>> all;
  for (LyingMatrix* matrix : matrices)
    all.push_back(std::make_unique<Turns>(*matrix, together));
  const auto expect = [&](size_t turn, int64_t begin) {
    for (const auto& turns : all)
      turns->expect(turn, begin, std::min(rows, begin + together));
  };
  expect(0, 0);
  size_t turn = 0;
  for (int64_t begin = 0; begin < rows; begin += together, ++turn) {
    for (const auto& turns : all) turns->bring(turn);
    if (begin + together < rows) expect(turn + 1, begin + together);
    use(begin, std::min(rows, begin + together));
    if (!written) continue;
    for (const auto& turns : all) turns->take_back(turn);
  }
  if (!written) return;
  for (const auto& turns : all) turns->settle();
}

}  // namespace lowmem::weights

#include "lowmem/weights/store.h"

#include <ATen/ATen.h>

#include "lowmem/memory/rehearsal.h"

namespace lowmem::weights {
namespace {

constexpr int64_t kSector = DirectFile::kAlignment;

}  // namespace

Room::Room(int64_t bytes, memory::Item item, c10::Device device) : bytes_(bytes) {
  const memory::Scope scope(item);
  memory_ = at::empty({bytes + kSector}, at::TensorOptions(at::kByte).device(device));
  const auto address = reinterpret_cast<uintptr_t>(memory_.mutable_data_ptr());
  first_ = static_cast<int64_t>((kSector - address % kSector) % kSector);
}

std::byte* Room::data() const {
  return memory_.defined() ? static_cast<std::byte*>(memory_.mutable_data_ptr()) + first_
                           : nullptr;
}

std::span<std::byte> Room::span(int64_t begin, int64_t bytes) const {
  return {data() + begin, static_cast<size_t>(bytes)};
}

at::Tensor Room::tensor(int64_t begin, at::IntArrayRef shape, at::ScalarType type) const {
  const int64_t bytes =
      c10::multiply_integers(shape) * static_cast<int64_t>(c10::elementSize(type));
  return memory_.narrow(0, first_ + begin, bytes).view(type).view(shape);
}

void Room::clear(int64_t bytes) const {
  if (!memory::rehearsing()) memory_.narrow(0, first_, bytes).zero_();
}

}  // namespace lowmem::weights

#pragma once

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "lowmem/weights/home.h"

namespace lowmem::test {

// A home that is as unlike a resident one as a home may be: between two leases a group's
// numbers, and those of what is beside its weights, lie elsewhere, and NaN is in their
// place; each lease finds them at another address. Fails a test that writes to what it
// has borrowed for reading.
class WanderingHome final : public weights::Home {
 public:
  explicit WanderingHome(weights::Table& table) : Home(table) {
    for (size_t group = 0; group < table.groups(); ++group) take_back(group, true);
  }
  // Leaves everything at its place.
  ~WanderingHome() override {
    for (size_t group = 0; group < table().groups(); ++group)
      bring(group, weights::Access::kWrite);
  }

 private:
  using Bytes = std::vector<char>;

  static std::vector<at::Tensor> tensors_of(weights::Table& table, size_t group) {
    std::vector<at::Tensor> all;
    for (weights::Weight* weight : table.group(group)) {
      all.push_back(weight->here);
      for (auto& [name, tensor] : weight->beside) all.push_back(tensor);
    }
    return all;
  }

  // Memory of its own for a storage, at another address than before.
  static void move_to(const at::Tensor& tensor, const char* bytes) {
    c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
    at::DataPtr room = c10::GetCPUAllocator()->allocate(storage->nbytes());
    if (bytes != nullptr)
      std::memcpy(room.get(), bytes, storage->nbytes());
    else
      std::memset(room.get(), 0xff, storage->nbytes());
    storage->set_data_ptr_noswap(std::move(room));
  }

  void bring(size_t group, weights::Access) override {
    for (const at::Tensor& tensor : tensors_of(table(), group)) {
      const auto kept = away_.find(tensor.unsafeGetTensorImpl());
      if (kept != away_.end()) move_to(tensor, kept->second.data());
    }
  }

  void take_back(size_t group, bool written) override {
    for (const at::Tensor& tensor : tensors_of(table(), group)) {
      const auto* data = static_cast<const char*>(tensor.const_data_ptr());
      Bytes now(data, data + tensor.nbytes());
      Bytes& kept = away_[tensor.unsafeGetTensorImpl()];
      if (!written && now != kept) ADD_FAILURE() << "group " << group << " was written";
      kept = std::move(now);
      move_to(tensor, nullptr);
    }
  }

  std::map<const void*, Bytes> away_;
};

}  // namespace lowmem::test

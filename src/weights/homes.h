#pragma once

#include <memory>

#include "lowmem/weights/home.h"
#include "lowmem/weights/store.h"

namespace lowmem::weights {

// One a file.
std::unique_ptr<Home> make_resident(Table& table, c10::Device device);
// Null: weights, or what is beside them, are on the device that computes. Both may be in
// one store.
std::unique_ptr<Home> make_streamed(const HomeSetup& setup, Table& table,
                                    std::shared_ptr<Store> weights,
                                    std::shared_ptr<Store> states);

}  // namespace lowmem::weights

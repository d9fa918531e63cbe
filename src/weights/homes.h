#pragma once

#include "lowmem/weights/home.h"

namespace lowmem::weights {

// One a file, as memory.weights names them.
std::unique_ptr<Home> make_resident(Table& table, c10::Device device);
std::unique_ptr<Home> make_disk(const HomeSetup& setup, Table& table);

}  // namespace lowmem::weights

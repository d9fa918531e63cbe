#pragma once

#include "lowmem/weights/home.h"

namespace lowmem::weights {

// One a file, as memory.weights names them.
std::unique_ptr<Home> make_resident(Table& table, c10::Device device);

}  // namespace lowmem::weights

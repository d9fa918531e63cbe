#pragma once

#include "config_reader.h"
#include "lowmem/model/config.h"

namespace lowmem::model {

// Rotary positions, in the spelling of any release.
void read_rope(const ConfigReader& in, Config& config);

// What layers differ in: rotary positions and the window. After all sizes.
void read_layers(const ConfigReader& in, const Family& family, Config& config);

}  // namespace lowmem::model

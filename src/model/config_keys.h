#pragma once

#include "config_reader.h"
#include "lowmem/model/family.h"

namespace lowmem::model {

// Throws Error for the first key that could change what the weights compute and that a
// config.json of this family does not have: what is not read is refused, unless its value
// asks for nothing.
void refuse_other_keys(const ConfigReader& in, const Family& family);

}  // namespace lowmem::model

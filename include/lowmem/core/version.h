#pragma once

namespace lowmem {

// The release, as CMake's project() has it: "0.1.0".
const char* version();

}  // namespace lowmem

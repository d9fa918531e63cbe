#pragma once

#include "lowmem/core/utf8.h"

namespace lowmem::tokenization {

using lowmem::append_utf8;
using lowmem::is_utf8;
using lowmem::is_white_space;
using lowmem::to_utf8;
using lowmem::utf8_at;
using lowmem::utf8_before;
using lowmem::Utf8Char;

}  // namespace lowmem::tokenization

#pragma once

#include "lowmem/core/error.h"

namespace lowmem::test {

// The Error that `call` throws.
template <class Call>
Error error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return Error("nothing", "was thrown", "-");
}

}  // namespace lowmem::test

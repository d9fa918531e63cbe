#pragma once

// What the address sanitizer has to be told of fibers and of memory that nobody may
// touch. Without it, all of this does nothing.

#include <cstddef>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulation::sanitizer {

#ifdef __SANITIZE_ADDRESS__
constexpr bool kActive = true;

inline void forbid(const void* memory, size_t bytes) {
  __asan_poison_memory_region(memory, bytes);
}
inline void allow(const void* memory, size_t bytes) {
  __asan_unpoison_memory_region(memory, bytes);
}
// Before a switch to a stack. `fake_stack` keeps the old one's; null: it is never
// resumed.
inline void about_to_switch(void** fake_stack, const void* stack, size_t bytes) {
  __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
}
// After it, on the new stack; says where the old one is.
inline void arrived(void* fake_stack, const void** old_stack, size_t* old_bytes) {
  __sanitizer_finish_switch_fiber(fake_stack, old_stack, old_bytes);
}
#else
constexpr bool kActive = false;

inline void forbid(const void*, size_t) {}
inline void allow(const void*, size_t) {}
inline void about_to_switch(void**, const void*, size_t) {}
inline void arrived(void*, const void**, size_t*) {}
#endif

}  // namespace emulation::sanitizer

#pragma once

// Leaving one stack for another and coming back.

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulation {

#if defined(__x86_64__)

// Where a stack was left: what a function must keep for its caller (System V ABI) lies on
// top of it. ucontext does the same with two system calls a switch, which take most of a
// launch's time.
struct Context {
  void* top = nullptr;
};

extern "C" void lowmem_switch_context(void** from_top, void* const* to_top);
asm(R"(
.text
.weak lowmem_switch_context
.type lowmem_switch_context, @function
lowmem_switch_context:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq (%rsi), %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size lowmem_switch_context, .-lowmem_switch_context
)");

// The first switch there calls `entry`, which must not return.
inline void prepare(Context& context, void* stack, size_t bytes, void (*entry)()) {
  constexpr size_t kKept = 6;
  auto* end = reinterpret_cast<uint64_t*>((reinterpret_cast<uintptr_t>(stack) + bytes) &
                                          ~uintptr_t{15});
  *--end = 0;  // nowhere to return to; aligns the stack as a call does
  *--end = reinterpret_cast<uintptr_t>(entry);
  for (size_t i = 0; i < kKept; ++i) *--end = 0;
  context.top = end;
}

inline void switch_context(Context& from, const Context& to) {
  lowmem_switch_context(&from.top, &to.top);
}

#else

struct Context {
  ucontext_t state;
};

inline void prepare(Context& context, void* stack, size_t bytes, void (*entry)()) {
  getcontext(&context.state);
  context.state.uc_stack.ss_sp = stack;
  context.state.uc_stack.ss_size = bytes;
  context.state.uc_link = nullptr;
  makecontext(&context.state, entry, 0);
}

inline void switch_context(Context& from, const Context& to) {
  swapcontext(&from.state, &to.state);
}

#endif

}  // namespace emulation

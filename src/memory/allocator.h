#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "lowmem/memory/ledger.h"

namespace lowmem::memory {

// Puts the counting allocator in LibTorch's place.
void install_allocator();
// Gives freed blocks that were kept for the next tensors back to the system.
void trim_blocks();

// A block of the arena, by what a storage points to: its whole pages behind the one that
// its header is in, none for other memory.
struct AllocatedBlock {
  std::span<std::byte> pages;
  int64_t bytes = 0;  // that were asked for
  Ledger* ledger = nullptr;
  Item item = Item::kBlock;
};
AllocatedBlock allocated_block(const void* data);

// What the process holds beside tensors: measured where few of them are about, and what
// oneDNN and threads will add.
void measure_program();
int64_t measured_program();
constexpr int64_t kProgramGrowth = int64_t{32} << 20;

}  // namespace lowmem::memory

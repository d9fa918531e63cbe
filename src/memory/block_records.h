#pragma once

#include <atomic>

#include "lowmem/memory/pages.h"

namespace lowmem::memory {

// What the allocator tells the record that there is, if any.
class BlockRecords {
 public:
  static void made(void* data);
  static void gone(void* data);

 private:
  friend class BlockRecord;
  static std::atomic<BlockRecord*> now_;  // null: nobody asks
};

}  // namespace lowmem::memory

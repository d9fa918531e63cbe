#pragma once

#include <c10/core/Device.h>

#include <cstdint>

#include "lowmem/core/error.h"
#include "lowmem/memory/ledger.h"

namespace lowmem::memory {

// A tensor of the CPU that does not fit the machine.
class OutOfMemory : public Error {
 public:
  // `used`: by the tensors that there were.
  OutOfMemory(const Error& error, int64_t asked, int64_t used)
      : Error(error), asked_(asked), used_(used) {}
  int64_t asked() const { return asked_; }  // bytes
  int64_t used() const { return used_; }    // bytes

 private:
  int64_t asked_, used_;
};

// Makes LibTorch allocate through the ledgers: on the CPU every byte is counted as it is
// asked for. Call before the first tensor; further calls do nothing. Process-wide.
void install();

// Computes on that device from here on, with what peaks there were forgotten.
void measure(c10::Device device);
c10::Device device();

// What an exception of the CPU's or the GPU's allocator asked for, such as "2.00 GiB";
// empty: it is about something else.
std::string asked_of(const std::exception& failure);

// What the device has in all: the GPU's memory, or the machine's and its swap, or a
// container's share of them.
int64_t total_bytes();
// What tensors could have in all: of a GPU what its driver says, of a machine what is
// available without pushing other programs out, within a container's share, beside what
// the program itself still grows by.
int64_t free_bytes();
// What the process holds beside tensors, and threads and libraries will add.
int64_t program_bytes();

// Gives memory that nothing uses back to the system: after something large that does not
// come again.
void return_free_memory();

// What is in use of the measured GPU by its driver's account, contexts and caches
// included, as nvidia-smi shows it; 0 on the CPU. The highest that this has returned: the
// allocator's cache only grows, so asking now and then is enough.
int64_t device_used_bytes();

// The process's resident size now, and the highest so far, as the system counts them.
int64_t resident_bytes();
int64_t peak_resident_bytes();

}  // namespace lowmem::memory

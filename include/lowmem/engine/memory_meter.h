#pragma once

#include <c10/core/Device.h>

#include <array>
#include <cstdint>

#include "lowmem/core/error.h"

namespace lowmem::engine {

// What a run is doing when memory is at its highest.
enum class Phase { kLoad, kForward, kBackward, kUpdate, kEvaluate, kSave, kNone };
constexpr size_t kPhases = 6;
// "load", "forward", ...: the keys of results.json.
const char* phase_name(Phase phase);

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

// Counts the bytes of tensors: on the CPU exactly, as they are asked for, through
// LibTorch's allocator; on a GPU as its caching allocator counts them, in multiples of
// 512. Process-wide. Thread-safe; each allocation costs two atomic additions.
namespace memory_meter {

// Makes LibTorch allocate through the counter. Call before the first tensor; further
// calls do nothing.
void install();

// Counts that device's tensors from here on, with what peaks there were forgotten.
void measure(c10::Device device);
c10::Device device();
// What it has in all: the GPU's memory, or the machine's and its swap, or a container's
// share of them.
int64_t total_bytes();

// What tensors could have in all: of a GPU what its driver says, of a machine what is
// available without pushing other programs out, within a container's share, beside what
// the program itself still grows by.
int64_t free_bytes();
// What the process holds beside tensors, and threads and libraries will add.
int64_t program_bytes();

int64_t current_bytes();
// Highest current_bytes() ever.
int64_t peak_bytes();
// By phase, 0 where a phase did not occur. Index with static_cast<size_t>(Phase).
std::array<int64_t, kPhases> peaks_by_phase();
// Highest since the last call of take_peak().
int64_t take_peak();
// Forgets all peaks: the highest from now on.
void reset_peaks();

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

}  // namespace memory_meter

// Attributes what is allocated during its life to `phase`. Scopes nest: the inner one
// counts. One thread at a time opens scopes.
class PhaseScope {
 public:
  explicit PhaseScope(Phase phase);
  ~PhaseScope();
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

 private:
  Phase outer_;
};

}  // namespace lowmem::engine

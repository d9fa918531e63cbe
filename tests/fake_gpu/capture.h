#pragma once

// Captures of streams, as streams and events see them.

#include "fake_gpu/fake.h"

namespace lowmem::fake_gpu {

// Which capture an event was recorded in. Captures end; their numbers are not used again.
class CaptureMark {
 public:
  static CaptureMark of(const Capture* capture);
  bool exists() const { return id_ != 0; }
  Capture* running() const;  // null: it has ended

 private:
  unsigned long long id_ = 0;
};

// Makes a stream part of a capture, because it waits for an event of it.
cudaError_t join(Capture* capture, cudaStream_t stream);
// The capture's streams wait for what `stream` has done so far.
void joined(Capture* capture, const Stream* stream);

}  // namespace lowmem::fake_gpu

#pragma once

#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

// Launches on one stream, recorded once and replayed with the same addresses: a CUDA
// graph. Starting it costs about as much as one launch.
class LaunchGraph {
 public:
  // What is put on `stream` from here to end() or cancel() is recorded instead of run.
  // Nothing may wait for the device meanwhile. Throws Error where CUDA refuses.
  static void begin(Stream stream);
  static void cancel(Stream stream);

  // Ends the recording that begin() began.
  explicit LaunchGraph(Stream stream);
  ~LaunchGraph();
  LaunchGraph(const LaunchGraph&) = delete;
  LaunchGraph& operator=(const LaunchGraph&) = delete;

  void replay(Stream stream) const;

 private:
  void* executable_ = nullptr;  // cudaGraphExec_t
};

}  // namespace lowmem::kernels

#pragma once

#include <map>
#include <string>

namespace lowmem::train {

// What decides the last bits of a result beside the configuration and the inputs, by
// name: versions of the program and of LibTorch, the processor, the instruction set that
// ATen chose, threads, what becomes of denormal numbers, and each variable of the
// environment by which oneDNN, MKL and ATen choose their instructions. Of oneDNN nobody
// can ask more than that; this program's own kernels give the same bits everywhere.
using Arithmetic = std::map<std::string, std::string>;

Arithmetic arithmetic();

// "threads = 1 after 2, ONEDNN_MAX_CPU_ISA = AVX2 after none": what differs. Empty where
// nothing does, and where `before` is, as of checkpoints that do not say.
std::string differences(const Arithmetic& before, const Arithmetic& now);

}  // namespace lowmem::train

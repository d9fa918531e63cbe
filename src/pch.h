// Precompiled for every file of lowmem_torch and its tests: what costs seconds to parse.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <vector>

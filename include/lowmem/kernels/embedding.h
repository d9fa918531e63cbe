#pragma once

#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

// The gradient of an embedding table by the tokens that looked up its rows: for each of
// `count` different ids
//
//   table[ids[k]] += gradient[order[j]] for all j in [offsets[k], offsets[k + 1])
//
// summed in fp32, in that order, and rounded once to the table's type. A frequent token's
// sum would stand still in bf16. Rows that no token looked up are not touched.
struct EmbeddingArgs {
  ConstArray gradient;  // [tokens, columns], of the embedded tokens
  int64_t columns = 0;
  int64_t count = 0;                 // of different ids
  const int64_t* ids = nullptr;      // [count] all different
  const int64_t* offsets = nullptr;  // [count + 1] into order
  const int64_t* order = nullptr;    // [tokens] sorted by id
};

namespace LOWMEM_DEVICE {

void embedding_gradient(const EmbeddingArgs& args, Array table, Stream stream);

}  // namespace LOWMEM_DEVICE

}  // namespace lowmem::kernels

// The embedding table's gradient. A block an id, of as many threads as a row has eights,
// at most 256; each thread goes through the id's tokens for its own columns. Each token's
// gradient is read once, each row that is met read and written once.
#include "device_eights.h"
#include "lowmem/kernels/embedding.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

template <class G, class T>
__global__ void add_tokens(EmbeddingArgs a, const G* gradient, T* table) {
  const bool even = a.columns % kEight == 0;
  const bool vectors = even && all_aligned(gradient, table);
  for_rows_of_block(a.count, [&](int64_t k) {
    T* row = table + a.ids[k] * a.columns;
    const int64_t begin = a.offsets[k], end = a.offsets[k + 1];
    for_eights_of_block(0, a.columns, vectors, [&](int64_t i, auto lanes) {
      Eight sums = load(row + i, lanes);
      for (int64_t j = begin; j < end; ++j) {
        const Eight x = load(gradient + a.order[j] * a.columns + i, lanes);
        sums = eight_of([&](int n) { return sums.at[n] + x.at[n]; });
      }
      store(row + i, sums, lanes);
    });
  });
}

}  // namespace

void embedding_gradient(const EmbeddingArgs& args, Array table, Stream stream) {
  with_type(args.gradient, [&]<class G>(const G* gradient) {
    with_mutable_type(table, [&]<class T>(T* rows) {
      launch(add_tokens<G, T>, grid_of(args.count), threads_for(args.columns), stream,
             args, gradient, rows);
    });
  });
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE

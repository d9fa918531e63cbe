// Adafactor's passes over a parameter. Statistics: tiles of 2048 columns by the rows of a
// group, at most some 256 tiles, so that sums of columns need little room; g and p read
// once, 4 bytes an element in bf16. Update norm: a block a row, 2 bytes. Write: a block a
// row, 6 bytes. So the whole update moves 12 bytes an element, in bf16.
#include "device_columns.h"
#include "device_writer.h"
#include "lowmem/kernels/adafactor.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

constexpr int kBatch = 32;    // rows whose sums wait in shared memory
constexpr int kTogether = 4;  // rows that a thread reads before it adds them up

Tiles tiles_of(int64_t rows, int64_t columns) { return {rows, columns, 256}; }

// Rows that are there, of a matrix whose pointers are those of the first of them: what
// comes from outside is checked on its way.
struct Rows {
  int64_t begin, end;
  __host__ __device__ int64_t count() const { return end - begin; }
};

// The parts of each row's sums, [rows, tiles across], and of each column's, [groups,
// columns].
struct Parts {
  double* rows;
  double* weights;
  float* columns;
};

// A group that began with earlier rows goes on from the sums of its columns, in the order
// that it would have had as a whole.
template <class P, class G>
__global__ void sum_tiles(AdafactorArgs a, Rows of, const P* weights, const G* gradient,
                          Pending pending, Tiles tiles, Parts parts) {
  LOWMEM_BLOCK_ARRAY(float, row_sums, 2 * kBatch * kMostWarps);
  const float scale = scale_of(a.scale, pending);
  const bool vectors =
      a.columns % kEight == 0 && all_aligned(weights, gradient, parts.columns);
  weights -= of.begin * a.columns;
  gradient -= of.begin * a.columns;
  const int64_t before = of.begin / tiles.group_rows;
  const int64_t groups = ceil_div(of.end, tiles.group_rows) - before;
  for_rows_of_block(groups * tiles.across, [&](int64_t index) {
    const OwnTile tile(tiles, before * tiles.across + index);
    const bool goes_on = tile.first_row < of.begin;
    const int64_t first_row = goes_on ? of.begin : tile.first_row;
    const int64_t last_row = tile.last_row < of.end ? tile.last_row : of.end;
    float* sums = parts.columns + tile.group * a.columns + tile.column;
    Eight column_sums{};
    if (goes_on)
      tile.with_lanes(vectors, [&](auto lanes) { column_sums = load(sums, lanes); });
    for (int64_t first = first_row; first < last_row; first += kBatch) {
      const int64_t left = last_row - first;
      const int rows = left < kBatch ? static_cast<int>(left) : kBatch;
      for (int row = 0; row < rows; row += kTogether) {
        float squares_of_row[kTogether]{}, weights_of_row[kTogether]{};
        tile.with_lanes(vectors, [&](auto lanes) {
          Eight g[kTogether], p[kTogether];
          LOWMEM_UNROLL
          for (int k = 0; k < kTogether; ++k) {
            const int64_t from = first + (row + k < rows ? row + k : row);
            const int64_t i = from * a.columns + tile.column;
            g[k] = load(gradient + i, lanes);
            p[k] = load(weights + i, lanes);
          }
          LOWMEM_UNROLL
          for (int k = 0; k < kTogether; ++k) {
            if (row + k >= rows) continue;
            const Eight squares = eight_of([&](int j) {
              const float x = scale * g[k].at[j];
              return x * x;
            });
            column_sums =
                eight_of([&](int j) { return column_sums.at[j] + squares.at[j]; });
            squares_of_row[k] = sum(squares);
            weights_of_row[k] =
                sum(eight_of([&](int j) { return p[k].at[j] * p[k].at[j]; }));
          }
        });
        LOWMEM_UNROLL
        for (int k = 0; k < kTogether; ++k) {
          const float squares = warp_sum(squares_of_row[k]);
          const float weights_squared = warp_sum(weights_of_row[k]);
          if (lane() != 0 || row + k >= rows) continue;
          row_sums[2 * (row + k) * kMostWarps + warp()] = squares;
          row_sums[(2 * (row + k) + 1) * kMostWarps + warp()] = weights_squared;
        }
      }
      __syncthreads();
      for (int j = static_cast<int>(threadIdx.x); j < 2 * rows;
           j += static_cast<int>(blockDim.x)) {
        double total = 0;
        for (int w = 0; w < warps(); ++w) total += row_sums[j * kMostWarps + w];
        const int64_t to = (first + j / 2) * tiles.across + tile.across;
        (j % 2 == 0 ? parts.rows : parts.weights)[to] = total;
      }
      __syncthreads();  // before row_sums are written again
    }
    tile.with_lanes(vectors, [&](auto lanes) { store(sums, column_sums, lanes); });
  });
}

// sums[row] = the parts of each row, in order.
__global__ void add_parts(const double* row_parts, const double* weight_parts, Rows of,
                          int64_t across, double* row_sums, double* weight_sums) {
  for (int64_t row = of.begin + grid_thread(); row < of.end; row += grid_threads()) {
    double squares = 0, weights = 0;
    for (int64_t k = 0; k < across; ++k) {
      squares += row_parts[row * across + k];
      weights += weight_parts[row * across + k];
    }
    row_sums[row] = squares;
    weight_sums[row] = weights;
  }
}

// One block: what all rows together decide.
__global__ void move_rows(AdafactorArgs a, AdafactorAverages to, const double* row_sums,
                          const double* weight_sums, Pending pending) {
  const double squared = sum_over_block(row_sums, a.rows);
  const double weights = sum_over_block(weight_sums, a.rows);
  if (threadIdx.x == 0) {
    if (to.squared_norm != nullptr) *to.squared_norm += squared;
    *to.squared_weight_norm = weights;
  }
  __syncthreads();  // the number just added to may be the one that decides
  if (to.row == nullptr || !may_write(pending)) return;
  struct Row {
    float average;
    double squares;
  };
  double own = 0;
  for_each_of_block(
      a.rows,
      [&](int64_t i) {
        return Row{to.row[i], row_sums[i]};
      },
      [&](int64_t i, const Row& row) {
        const float average =
            static_cast<float>((1 - to.rate) * row.average +
                               to.rate * row.squares / static_cast<double>(a.columns));
        to.row[i] = average;
        own += static_cast<double>(average);
      });
  const double mean = block_sum(own) / static_cast<double>(a.rows);
  for_each_of_block(
      a.rows, [&](int64_t i) { return to.row[i]; },
      [&](int64_t i, float row) {
        to.row_root[i] = mean > 0 ? static_cast<float>(sqrt(row / mean)) : 0.0f;
      });
}

__global__ void move_columns(AdafactorArgs a, AdafactorAverages to,
                             const float* column_sums, Pending pending) {
  if (!may_write(pending)) return;
  const float keep = static_cast<float>(1 - to.rate);
  const float rate = static_cast<float>(to.rate / static_cast<double>(a.rows));
  for (int64_t i = grid_thread(); i < a.columns; i += grid_threads()) {
    const float average = keep * to.column[i] + rate * column_sums[i];
    to.column[i] = average;
    to.column_root[i] = sqrtf(average);
  }
}

// The update u of eight elements before its factor. `roots`: column_root of theirs.
template <class G, class Lanes>
__device__ Eight update_of(const G* gradient, const float* roots, float scale,
                           float row_root, float eps, Lanes lanes) {
  const Eight g = load(gradient, lanes), root = load(roots, lanes);
  return eight_of([&](int k) {
    const float denominator = row_root * root.at[k] + eps;
    return in_use(k, lanes) ? scale * g.at[k] / denominator : 0.0f;
  });
}

__device__ float root_of_row(const AdafactorArgs& a, int64_t row) {
  return a.row_root == nullptr ? 1.0f : a.row_root[row];
}

template <class G>
__global__ void norm_of_rows(AdafactorArgs a, Rows of, const G* gradient, Pending pending,
                             double* sums) {
  const float scale = scale_of(a.scale, pending);
  for_rows_of_block(of.count(), [&](int64_t index) {
    const int64_t row = of.begin + index;
    const G* g = gradient + index * a.columns;
    const float root = root_of_row(a, row);
    double own = 0;
    for_eights_of_block(
        0, a.columns, all_aligned(g, a.column_root), [&](int64_t i, auto lanes) {
          const Eight u = update_of(g + i, a.column_root + i, scale, root, a.eps, lanes);
          own += sum(eight_of([&](int k) { return u.at[k] * u.at[k]; }));
        });
    const double total = block_sum(own);
    if (threadIdx.x == 0) sums[row] = total;
  });
}

__global__ void take_factor(int64_t rows, const double* sums, const double* squared,
                            double least_norm, double lr, Pending pending,
                            float* factor) {
  if (pending.step != nullptr) lr = pending.step->lr;
  const double total = sum_over_block(sums, rows);
  if (threadIdx.x != 0) return;
  const double norm = sqrt(*squared);
  // A norm that is no number stays one.
  *factor = static_cast<float>(lr * (norm < least_norm ? least_norm : norm) /
                               (sqrt(total) + 1e-20));
}

// Eights begin where the noise's do, at multiples of eight of the whole parameter, which
// need not be those of a row.
template <class P, class G>
__global__ void write(AdafactorArgs a, Rows of, const P* weights, const G* gradient,
                      const float* factor, Pending pending, RoundingReport* report) {
  if (!may_write(pending)) return;
  const float scale = scale_of(a.scale, pending), times = *factor;
  a.weights.noise = noise_of_step(a.weights.noise, pending);
  WeightWriter<P> writer(a.weights, report);
  const bool all = all_aligned(weights, gradient) && writer.vectors();
  weights -= of.begin * a.columns;
  gradient -= of.begin * a.columns;
  for_rows_of_block(of.count(), [&](int64_t index) {
    const int64_t row = of.begin + index, start = row * a.columns;
    const float root = root_of_row(a, row);
    const bool vectors = all && start % kEight == 0 && all_aligned(a.column_root);
    for_eights_of_block(start, start + a.columns, vectors, [&](int64_t i, auto lanes) {
      const Eight p = load(weights + i, lanes);
      const Eight u =
          update_of(gradient + i, a.column_root + (i - start), scale, root, a.eps, lanes);
      writer.write(i, p, eight_of([&](int k) { return p.at[k] - times * u.at[k]; }),
                   lanes);
    });
  });
  writer.finish();
}

// Calls f(weights, gradient) with their types.
template <class F>
void with_types(const AdafactorArgs& args, F f) {
  with_type(args.gradient, [&](const auto* gradient) {
    with_mutable_type(args.weights, [&](auto* weights) { f(weights, gradient); });
  });
}

int64_t grid_of_threads(int64_t count) { return grid_of(ceil_div(count, kMostThreads)); }

// Doubles of the parts of rows, which only rows wider than a tile have.
int64_t row_parts(const Tiles& tiles) {
  return tiles.across == 1 ? 0 : ceil_div(tiles.rows * tiles.across, 2) * 2;
}

}  // namespace

int64_t adafactor_workspace(int64_t rows, int64_t columns) {
  const Tiles tiles = tiles_of(rows, columns);
  return 2 * row_parts(tiles) * static_cast<int64_t>(sizeof(double)) +
         tiles.groups * columns * static_cast<int64_t>(sizeof(float));
}

void adafactor_statistics(const AdafactorArgs& args, int64_t begin, int64_t end,
                          const Pending& pending, double* row_sums, double* weight_sums,
                          float* column_sums, void* workspace, Stream stream) {
  if (begin == end || args.columns == 0) return;
  const Rows of{begin, end};
  const Tiles tiles = tiles_of(args.rows, args.columns);
  double* of_rows = static_cast<double*>(workspace);
  double* of_weights = of_rows + row_parts(tiles);
  Parts parts{of_rows, of_weights,
              reinterpret_cast<float*>(of_weights + row_parts(tiles))};
  if (tiles.across == 1) {
    parts.rows = row_sums;
    parts.weights = weight_sums;
  }
  with_types(args, [&]<class P, class G>(P* weights, const G* gradient) {
    const int64_t first = begin * args.columns;
    launch(sum_tiles<P, G>, grid_of(tiles.count()), threads_for(args.columns), stream,
           args, of, weights + first, gradient + first, pending, tiles, parts);
  });
  if (tiles.across > 1)
    launch(add_parts, grid_of_threads(of.count()), kMostThreads, stream, parts.rows,
           parts.weights, of, tiles.across, row_sums, weight_sums);
  if (end == args.rows) sum_groups<false>(parts.columns, tiles, column_sums, stream);
}

void adafactor_averages(const AdafactorArgs& args, const AdafactorAverages& averages,
                        const double* row_sums, const double* weight_sums,
                        const float* column_sums, const Pending& pending, Stream stream) {
  launch(move_rows, 1, kMostThreads, stream, args, averages, row_sums, weight_sums,
         pending);
  launch(move_columns, grid_of_threads(args.columns), kMostThreads, stream, args,
         averages, column_sums, pending);
}

void adafactor_update_norm(const AdafactorArgs& args, int64_t begin, int64_t end,
                           const Pending& pending, double* sums, Stream stream) {
  const Rows of{begin, end};
  with_type(args.gradient, [&]<class G>(const G* gradient) {
    launch(norm_of_rows<G>, grid_of(of.count()), threads_for(args.columns), stream, args,
           of, gradient + begin * args.columns, pending, sums);
  });
}

void adafactor_factor(int64_t rows, const double* sums, const double* squared_weight_norm,
                      double least_norm, double lr, const Pending& pending, float* factor,
                      Stream stream) {
  launch(take_factor, 1, kMostThreads, stream, rows, sums, squared_weight_norm,
         least_norm, lr, pending, factor);
}

void adafactor_write(const AdafactorArgs& args, const float* factor, int64_t begin,
                     int64_t end, const Pending& pending, RoundingReport* report,
                     Stream stream) {
  const Rows of{begin, end};
  with_types(args, [&]<class P, class G>(P* weights, const G* gradient) {
    const int64_t first = begin * args.columns;
    launch(write<P, G>, grid_of(of.count()), threads_for(args.columns), stream, args, of,
           weights + first, gradient + first, factor, pending, report);
  });
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE

#pragma once

// Sums over the rows of a matrix, column by column, without atomics. Rows are cut into
// groups; a block goes down the rows of one group, each of its threads over eight columns
// of its own. The groups' sums are added up in order by a second kernel.

#include "device_eights.h"

namespace lowmem::kernels::LOWMEM_DEVICE {

constexpr int64_t kTileColumns = kEight * kMostThreads;

// How a matrix is cut, which follows from its size alone.
struct Tiles {
  int64_t rows, columns;
  int64_t group_rows;  // of a group; the last one may have fewer
  int64_t groups;
  int64_t across;  // tiles side by side

  // About `wanted` tiles, of at least eight rows.
  Tiles(int64_t rows_of_matrix, int64_t columns_of_matrix, int64_t wanted)
      : rows(rows_of_matrix), columns(columns_of_matrix) {
    across = ceil_div(columns, kTileColumns);
    const int64_t most = ceil_div(wanted, across);
    group_rows = ceil_div(rows, most);
    if (group_rows < 8) group_rows = 8;
    groups = ceil_div(rows, group_rows);
  }
  __host__ __device__ int64_t count() const { return groups * across; }
};

// A tile as one thread sees it.
struct OwnTile {
  int64_t group, first_row, last_row;
  int64_t across;  // which of the tiles side by side
  int64_t column;  // the first of the thread's own
  int columns;     // how many of them there are, 0 to 8

  __device__ OwnTile(const Tiles& tiles, int64_t tile)
      : group(tile / tiles.across), across(tile % tiles.across) {
    first_row = group * tiles.group_rows;
    const int64_t end = first_row + tiles.group_rows;
    last_row = end < tiles.rows ? end : tiles.rows;
    column = across * kTileColumns + kEight * static_cast<int64_t>(threadIdx.x);
    const int64_t left = tiles.columns - column;
    columns = left < 0 ? 0 : left < kEight ? static_cast<int>(left) : kEight;
  }
  // Calls f(lanes) for the thread's columns. `vectors` as in for_eights().
  template <class F>
  __device__ void with_lanes(bool vectors, F f) const {
    if (vectors && columns == kEight)
      f(AllEight{});
    else
      f(SomeEight{0, columns});
  }
};

namespace {

// sums[column] = (kAdd: sums[column] +) the groups' sums, in order.
template <bool kAdd>
__global__ void add_groups(const float* groups, int64_t count, int64_t columns,
                           float* sums) {
  for (int64_t column = grid_thread(); column < columns; column += grid_threads()) {
    float sum = kAdd ? sums[column] : 0;
    read_ahead<16>(
        0, count, 1, [&](int64_t k) { return groups[k * columns + column]; },
        [&](int64_t, float x) { sum += x; });
    sums[column] = sum;
  }
}

template <bool kAdd>
void sum_groups(const float* groups, const Tiles& tiles, float* sums, Stream stream) {
  constexpr int kThreads = 64;  // so that a few thousand columns occupy many processors
  launch(add_groups<kAdd>, grid_of(ceil_div(tiles.columns, kThreads)), kThreads, stream,
         groups, tiles.groups, tiles.columns, sums);
}

}  // namespace
}  // namespace lowmem::kernels::LOWMEM_DEVICE

#include "kernels/cpu/linear_tiles.h"

#include <algorithm>

#include "kernels/cpu/layout.h"

namespace flashmoe::kernels::cpu {

void run_tiles(const TileFunctions& functions, const Matrix& weight, const std::byte* x, int64_t n,
               int64_t block_begin, int64_t block_end, float* y, int64_t y_stride) noexcept {
  const size_t row_bytes = operand_row_bytes(weight.format, weight.cols);
  const size_t bytes = quant::interleaved_block_bytes(weight.format, weight.cols);
  Tile tile{weight.data + static_cast<size_t>(block_begin) * bytes,
            x,
            row_bytes,
            weight.cols,
            weight.format,
            kLanes,
            nullptr,
            y_stride};
  for (int64_t row = block_begin * kLanes; row < std::min(weight.rows, block_end * kLanes);
       row += kLanes, tile.block += bytes) {
    tile.lanes = static_cast<int>(std::min(kLanes, weight.rows - row));
    // Tiles of about the same size: 13 rows are 7 and 6, where 8, 4 and 1 would take longer.
    const int64_t tiles = (n + functions.most - 1) / functions.most;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t first = n * t / tiles, end = n * (t + 1) / tiles;
      tile.x = x + static_cast<size_t>(first) * row_bytes;
      tile.y = y + first * y_stride + row;
      functions.of_rows[end - first](tile);
    }
  }
}

}  // namespace flashmoe::kernels::cpu

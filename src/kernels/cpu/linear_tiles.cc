#include "kernels/cpu/linear_tiles.h"

#include <algorithm>

#include "kernels/cpu/layout.h"

namespace flashmoe::kernels::cpu {

void run_tiles(const TileFunctions& functions, const Matrix& weight, const std::byte* x,
               size_t row_bytes, int64_t n, int64_t block_begin, int64_t block_end, float* y,
               int64_t y_stride) noexcept {
  const size_t bytes = block_bytes(weight.format, weight.cols);
  Tile tile{weight.data + static_cast<size_t>(block_begin) * bytes,
            x,
            row_bytes,
            weight.cols,
            weight.format.dtype,
            weight.format.group,
            kLanes,
            nullptr,
            y_stride};
  for (int64_t row = block_begin * kLanes; row < std::min(weight.rows, block_end * kLanes);
       row += kLanes, tile.block += bytes) {
    tile.lanes = static_cast<int>(std::min(kLanes, weight.rows - row));
    int64_t first = 0;
    for (int log2 = 3; log2 >= 0; --log2) {
      const int64_t rows = int64_t{1} << log2;
      if (functions.of_rows[log2] == nullptr) continue;
      for (; first + rows <= n; first += rows) {
        tile.x = x + static_cast<size_t>(first) * row_bytes;
        tile.y = y + first * y_stride + row;
        functions.of_rows[log2](tile);
      }
    }
  }
}

}  // namespace flashmoe::kernels::cpu

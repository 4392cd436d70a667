#include "kernels/cpu/linear.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/layout.h"

namespace flashmoe::kernels::cpu {

const LinearKernels& linear_kernels() {
  static const LinearKernels& chosen = linear_kernels(chosen_isa());
  return chosen;
}

const LinearKernels& linear_kernels(Isa isa) {
  CHECK(isa_supported(isa));
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kAvx512Linear;
  if (isa == Isa::kAvx2) return kAvx2Linear;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return kNeonLinear;
#endif
  return kScalarLinear;
}

void linear_split(const LinearKernels& kernels, const Matrix& weight, const std::byte* x, int64_t n,
                  int64_t block_begin, int64_t block_end, float* y, int64_t y_stride) noexcept {
  CHECK(takes_int8(weight.format));
  // The products of all parts: of up to 8 rows with one block of weights, or of fewer with more, so
  // that a block's weights are read from memory once and beginning a product does not count.
  constexpr int64_t kMostRows = 8;
  float products[kMostRows * quant::kParts * kLanes];
  const size_t row_bytes = quant::split_row_bytes(weight.cols);
  const int64_t at_once = std::min(kMostRows, n), blocks_at_once = kMostRows / at_once;
  for (int64_t block = block_begin; block < block_end; block += blocks_at_once) {
    const int64_t blocks = std::min(blocks_at_once, block_end - block), stride = blocks * kLanes;
    Matrix part = weight;
    part.rows = std::min(stride, weight.rows - block * kLanes);
    part.data +=
        static_cast<size_t>(block) * quant::interleaved_block_bytes(weight.format, weight.cols);
    for (int64_t first = 0; first < n; first += at_once) {
      const int64_t rows = std::min(at_once, n - first);
      kernels.linear(part, x + static_cast<size_t>(first) * row_bytes, quant::kParts * rows, 0,
                     blocks, products, stride);
      for (int64_t i = 0; i < rows; ++i) {
        const float* of = products + quant::kParts * i * stride;
        float* to = y + (first + i) * y_stride + block * kLanes;
        for (int64_t r = 0; r < part.rows; ++r) {
          to[r] = quant::sum_parts(of[r], of[stride + r], of[2 * stride + r]);
        }
      }
    }
  }
}

}  // namespace flashmoe::kernels::cpu

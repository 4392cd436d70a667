// Codes of whole row blocks into the compute layout, in vectors. Private to layout*.cc.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/layout.h"

namespace flashmoe::kernels::cpu {

// Puts all units of the 16 rows that start at `codes` and are `stride` apart into their block.
// Nothing at or past `end` is read.
using BlockFunction = void (*)(const quant::Format& format, int64_t cols, const std::byte* codes,
                               size_t stride, const std::byte* end, std::byte* block);

void put_block_avx2(const quant::Format& format, int64_t cols, const std::byte* codes,
                    size_t stride, const std::byte* end, std::byte* block);
void put_block_neon(const quant::Format& format, int64_t cols, const std::byte* codes,
                    size_t stride, const std::byte* end, std::byte* block);

}  // namespace flashmoe::kernels::cpu

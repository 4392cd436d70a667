// Codes of whole row blocks into the compute layout, in vectors. Private to layout*.cc.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/layout.h"

namespace flashmoe::kernels::cpu {

// Where the units of a block lie: so many together, every `group_bytes`.
struct UnitPlaces {
  int bits;
  int64_t units;  // of the row
  int64_t group_units;
  size_t group_bytes;
};

// Puts all units of the 16 rows that start at `codes` and are `stride` apart into their block.
// Nothing at or past `end` is read.
using BlockFunction = void (*)(const UnitPlaces& places, const std::byte* codes, size_t stride,
                               const std::byte* end, std::byte* block);

void put_block_avx2(const UnitPlaces& places, const std::byte* codes, size_t stride,
                    const std::byte* end, std::byte* block);
void put_block_neon(const UnitPlaces& places, const std::byte* codes, size_t stride,
                    const std::byte* end, std::byte* block);

}  // namespace flashmoe::kernels::cpu

// One function for each type of block, by family: blocks_legacy.cc, blocks_k.cc, blocks_iq.cc,
// blocks_iq1.cc, blocks_ternary.cc, blocks_fp4.cc. Private to quant.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "quant/blocks.h"

namespace flashmoe::quant {

inline uint16_t load16(const uint8_t* from) {
  uint16_t value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

inline uint32_t load32(const uint8_t* from) {
  uint32_t value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

inline float load_f16(const uint8_t* from) { return to_float(F16{load16(from)}); }

// For the types without scales of their pieces.
inline void set_sub_scales(int pieces, Block* block) {
  std::fill_n(block->sub_scales, pieces, int8_t{1});
}

void unpack_q4_0(const uint8_t* bytes, Block* block);
void unpack_q4_1(const uint8_t* bytes, Block* block);
void unpack_q5_0(const uint8_t* bytes, Block* block);
void unpack_q5_1(const uint8_t* bytes, Block* block);
void unpack_q8_0(const uint8_t* bytes, Block* block);
void unpack_q2_k(const uint8_t* bytes, Block* block);
void unpack_q3_k(const uint8_t* bytes, Block* block);
void unpack_q4_k(const uint8_t* bytes, Block* block);
void unpack_q5_k(const uint8_t* bytes, Block* block);
void unpack_q6_k(const uint8_t* bytes, Block* block);
void unpack_iq1_s(const uint8_t* bytes, Block* block);
void unpack_iq1_m(const uint8_t* bytes, Block* block);
void unpack_iq2_xxs(const uint8_t* bytes, Block* block);
void unpack_iq2_xs(const uint8_t* bytes, Block* block);
void unpack_iq2_s(const uint8_t* bytes, Block* block);
void unpack_iq3_xxs(const uint8_t* bytes, Block* block);
void unpack_iq3_s(const uint8_t* bytes, Block* block);
void unpack_iq4_nl(const uint8_t* bytes, Block* block);
void unpack_iq4_xs(const uint8_t* bytes, Block* block);
void unpack_tq1_0(const uint8_t* bytes, Block* block);
void unpack_tq2_0(const uint8_t* bytes, Block* block);
void unpack_mxfp4(const uint8_t* bytes, Block* block);
void unpack_nvfp4(const uint8_t* bytes, Block* block);

}  // namespace flashmoe::quant

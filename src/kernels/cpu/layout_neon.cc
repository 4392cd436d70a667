// The way into the compute layout with NEON: the codes of 32 inputs of a row are spread to a byte
// each, 4 rows are transposed, and the bit planes put together. Baseline code for arm64.
#include <arm_neon.h>

#include <cstring>

#include "kernels/cpu/layout_units.h"

namespace flashmoe::kernels::cpu {

namespace {

constexpr int kVectorLanes = 4;  // rows in a vector
constexpr int kQuads = 8;        // vectors of four inputs in a unit

inline uint8x16_t load(const std::byte* from) {
  return vld1q_u8(reinterpret_cast<const uint8_t*>(from));
}

// For the eight codes that fill bytes [first, first + bits): the two bytes that hold each of them,
// and the shift that brings it to bit 0.
struct Spread {
  uint8_t bytes[16];
  int16_t shifts[8];

  constexpr Spread(int bits, int first) : bytes(), shifts() {
    for (int j = 0; j < 8; ++j) {
      const int bit = bits * j;
      bytes[2 * j] = static_cast<uint8_t>(first + bit / 8);
      bytes[2 * j + 1] = static_cast<uint8_t>(first + bit / 8 + 1);
      shifts[j] = static_cast<int16_t>(-(bit % 8));
    }
  }
};

inline uint8x8_t spread(uint8x16_t data, const Spread& table, int bits) {
  const uint16x8_t pairs = vreinterpretq_u16_u8(vqtbl1q_u8(data, vld1q_u8(table.bytes)));
  const uint16x8_t codes = vshlq_u16(pairs, vld1q_s16(table.shifts));
  return vand_u8(vmovn_u16(codes), vdup_n_u8(static_cast<uint8_t>((1 << bits) - 1)));
}

// Bytes that spread_half reads, from the half's first on.
constexpr int kReadBytes = 16;

// 16 codes of a row, a byte each.
template <int kBits>
inline uint8x16_t spread_half(const std::byte* codes) {
  if constexpr (kBits == 8) {
    return load(codes);
  } else {
    static constexpr Spread kFirst(kBits, 0), kSecond(kBits, kBits);
    const uint8x16_t data = load(codes);
    return vcombine_u8(spread(data, kFirst, kBits), spread(data, kSecond, kBits));
  }
}

// rows[r] holds dwords 0 to 3 of row r; afterwards quads[d] holds dword d of rows 0 to 3.
inline void transpose(const uint8x16_t* rows, uint8x16_t* quads) {
  const auto dwords = [&](int r) { return vreinterpretq_u32_u8(rows[r]); };
  const auto low = [&](int r) {  // dwords 0 and 2 of rows r and r + 1
    return vreinterpretq_u64_u32(vtrn1q_u32(dwords(r), dwords(r + 1)));
  };
  const auto high = [&](int r) {  // dwords 1 and 3
    return vreinterpretq_u64_u32(vtrn2q_u32(dwords(r), dwords(r + 1)));
  };
  quads[0] = vreinterpretq_u8_u64(vtrn1q_u64(low(0), low(2)));
  quads[1] = vreinterpretq_u8_u64(vtrn1q_u64(high(0), high(2)));
  quads[2] = vreinterpretq_u8_u64(vtrn2q_u64(low(0), low(2)));
  quads[3] = vreinterpretq_u8_u64(vtrn2q_u64(high(0), high(2)));
}

// Bits [kShift, kShift + kWidth) of the codes into their plane.
template <int kWidth, int kShift>
inline void put_plane(const uint8x16_t* quads, std::byte* plane) {
  constexpr int kFields = 8 / kWidth;
  for (int m = 0; m < kWidth; ++m) {
    uint8x16_t word = vdupq_n_u8(0);
    for (int k = 0; k < kFields; ++k) {
      const int left = kWidth * k - kShift;
      const uint8x16_t mask = vdupq_n_u8(static_cast<uint8_t>(((1 << kWidth) - 1) << (kWidth * k)));
      const uint8x16_t moved =
          vshlq_u8(quads[m * kFields + k], vdupq_n_s8(static_cast<int8_t>(left)));
      word = vorrq_u8(word, vandq_u8(moved, mask));
    }
    vst1q_u8(reinterpret_cast<uint8_t*>(plane + m * kVectorBytes), word);
  }
}

template <int kBits>
void put_block(const UnitPlaces& places, const std::byte* codes, size_t stride,
               const std::byte* end, std::byte* block) {
  constexpr int kWide = quant::wide_plane(kBits);
  constexpr int kHalfBytes = 2 * kBits;  // of 16 codes
  for (int64_t first = 0; first < places.units;
       first += places.group_units, block += places.group_bytes) {
    for (int64_t u = 0; u < places.group_units; ++u, codes += 2 * kHalfBytes) {
      for (int v = 0; v < kLanes / kVectorLanes; ++v) {
        uint8x16_t quads[kQuads];
        for (int half = 0; half < 2; ++half) {
          uint8x16_t rows[kVectorLanes];
          for (int r = 0; r < kVectorLanes; ++r) {
            const std::byte* from =
                codes + static_cast<size_t>(v * kVectorLanes + r) * stride + half * kHalfBytes;
            std::byte copy[kReadBytes] = {};
            if (end - from < kReadBytes) {
              std::memcpy(copy, from, kHalfBytes);
              from = copy;
            }
            rows[r] = spread_half<kBits>(from);
          }
          transpose(rows, quads + half * kQuads / 2);
        }
        std::byte* unit = block + u * kBits * kVectorBytes + v * 16;
        put_plane<kWide, 0>(quads, unit);
        if constexpr (kBits > kWide) {
          put_plane<kBits - kWide, kWide>(quads, unit + kWide * kVectorBytes);
        }
      }
    }
  }
}

}  // namespace

void put_block_neon(const UnitPlaces& places, const std::byte* codes, size_t stride,
                    const std::byte* end, std::byte* block) {
  switch (places.bits) {
    case 2:
      return put_block<2>(places, codes, stride, end, block);
    case 3:
      return put_block<3>(places, codes, stride, end, block);
    case 4:
      return put_block<4>(places, codes, stride, end, block);
    case 5:
      return put_block<5>(places, codes, stride, end, block);
    case 6:
      return put_block<6>(places, codes, stride, end, block);
    default:
      return put_block<8>(places, codes, stride, end, block);
  }
}

}  // namespace flashmoe::kernels::cpu

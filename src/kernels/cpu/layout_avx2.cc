// The way into the compute layout with AVX2: the codes of 32 inputs of a row are spread to a byte
// each, 16 rows are transposed, and the bit planes put together.
#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/layout_units.h"

// What is compiled for AVX2 is of this file alone: a shared inline function or template must not
// come out of here into the baseline program.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

namespace flashmoe::kernels::cpu {

namespace {

constexpr int kHalfLanes = 8;  // rows in a vector

inline __m128i load16(const std::byte* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

// For the eight codes that fill bytes [first, first + bits): the two bytes that hold each of them,
// and the factor that moves it to the top of 16 bits.
struct Spread {
  alignas(16) int8_t bytes[16];
  alignas(16) uint16_t factors[8];

  constexpr Spread(int bits, int first) : bytes(), factors() {
    for (int j = 0; j < 8; ++j) {
      const int bit = bits * j;
      bytes[2 * j] = static_cast<int8_t>(first + bit / 8);
      bytes[2 * j + 1] = static_cast<int8_t>(first + bit / 8 + 1);
      factors[j] = static_cast<uint16_t>(1 << (16 - bits - bit % 8));
    }
  }
};

inline __m256i twice(const void* table) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(static_cast<const __m128i*>(table)));
}

// Bytes that spread_unit reads, from the unit's first on.
template <int kBits>
constexpr int kReadBytes = kBits == 8 ? 32 : 2 * kBits + 16;

// The 32 codes of a row, a byte each.
template <int kBits>
inline __m256i spread_unit(const std::byte* codes) {
  if constexpr (kBits == 8) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
  } else {
    static constexpr Spread kFirst(kBits, 0), kSecond(kBits, kBits);
    const __m256i data = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(codes)),
                                                 load16(codes + 2 * kBits), 1);
    const __m256i first = _mm256_shuffle_epi8(data, twice(kFirst.bytes));
    const __m256i second = _mm256_shuffle_epi8(data, twice(kSecond.bytes));
    const __m256i factors = twice(kFirst.factors);
    return _mm256_packus_epi16(_mm256_srli_epi16(_mm256_mullo_epi16(first, factors), 16 - kBits),
                               _mm256_srli_epi16(_mm256_mullo_epi16(second, factors), 16 - kBits));
  }
}

// rows[r] holds dwords 0 to 7 of row r; afterwards rows[d] holds dword d of rows 0 to 7.
inline void transpose(__m256i* rows) {
  __m256i pairs[8], fours[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);      // dwords 0, 1 | 4, 5
    pairs[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);  // dwords 2, 3 | 6, 7
  }
  for (int i = 0; i < 8; i += 4) {
    fours[i] = _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);  // dword 0 | 4 of four rows
    fours[i + 1] = _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
    fours[i + 2] = _mm256_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    fours[i + 3] = _mm256_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x20);
    rows[i + 4] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x31);
  }
}

// Bits [kShift, kShift + kWidth) of the codes into their plane.
template <int kWidth, int kShift>
inline void put_plane(const __m256i* quads, std::byte* plane) {
  constexpr int kFields = 8 / kWidth;
  for (int m = 0; m < kWidth; ++m) {
    __m256i word = _mm256_setzero_si256();
    for (int k = 0; k < kFields; ++k) {
      const int left = kWidth * k - kShift;
      const __m256i mask = _mm256_set1_epi8(static_cast<char>(((1 << kWidth) - 1) << (kWidth * k)));
      const __m256i codes = quads[m * kFields + k];
      const __m256i moved =
          left >= 0 ? _mm256_slli_epi32(codes, left) : _mm256_srli_epi32(codes, -left);
      word = _mm256_or_si256(word, _mm256_and_si256(moved, mask));
    }
    _mm256_store_si256(reinterpret_cast<__m256i*>(plane + m * kVectorBytes), word);
  }
}

template <int kBits>
void put_block(const UnitPlaces& places, const std::byte* codes, size_t stride,
               const std::byte* end, std::byte* block) {
  constexpr int kWide = quant::wide_plane(kBits);
  for (int64_t first = 0; first < places.units;
       first += places.group_units, block += places.group_bytes) {
    for (int64_t u = 0; u < places.group_units; ++u, codes += 4 * kBits) {
      std::byte* unit = block + u * kBits * kVectorBytes;
      for (int h = 0; h < 2; ++h) {
        __m256i quads[kHalfLanes];
        for (int r = 0; r < kHalfLanes; ++r) {
          const std::byte* row = codes + static_cast<size_t>(h * kHalfLanes + r) * stride;
          std::byte copy[48];
          if (end - row < kReadBytes<kBits>) {
            std::memcpy(copy, row, 4 * kBits);
            row = copy;
          }
          quads[r] = spread_unit<kBits>(row);
        }
        transpose(quads);
        put_plane<kWide, 0>(quads, unit + h * 32);
        if constexpr (kBits > kWide) {
          put_plane<kBits - kWide, kWide>(quads, unit + kWide * kVectorBytes + h * 32);
        }
      }
    }
  }
}

}  // namespace

void put_block_avx2(const UnitPlaces& places, const std::byte* codes, size_t stride,
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

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

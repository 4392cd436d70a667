#include "limits/probe_loops.h"

#include <array>
#include <cstring>
#include <numeric>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace flashmoe::limits {

namespace {

// The compiler may neither foresee nor hoist what a register holds behind this.
#if defined(__x86_64__)
#define FLASHMOE_OPAQUE(vector) asm volatile("" : "+v"(vector))
#endif

template <typename Vector, size_t kCount>
uint64_t fold(const Vector (&vectors)[kCount]) {
  std::array<uint64_t, kCount * sizeof(Vector) / sizeof(uint64_t)> lanes;
  std::memcpy(lanes.data(), vectors, sizeof(vectors));
  return std::accumulate(lanes.begin(), lanes.end(), uint64_t{0});
}

uint64_t sum_scalar(const std::byte* data, size_t bytes) noexcept {
  uint64_t sums[4] = {};
  for (size_t i = 0; i < bytes; i += sizeof(sums)) {
    uint64_t words[4];
    std::memcpy(words, data + i, sizeof(words));
    for (int k = 0; k < 4; ++k) sums[k] += words[k];
  }
  return fold(sums);
}

constexpr int kScalarLanes = 64;

void multiply_add_scalar(int64_t rounds) noexcept {
  std::array<uint8_t, kScalarLanes> a;
  std::array<int8_t, kScalarLanes> b;
  std::array<int32_t, kScalarLanes> sums{};
  a.fill(3);
  b.fill(5);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : : "r"(a.data()), "r"(b.data()) : "memory");
    for (int i = 0; i < kScalarLanes; ++i) sums[i] += int32_t{a[i]} * b[i];
  }
  asm volatile("" : : "r"(sums.data()) : "memory");
}

constexpr ProbeLoops kScalarLoops = {sum_scalar, multiply_add_scalar, 2 * kScalarLanes};

#if defined(__x86_64__)

__attribute__((target("avx2"))) uint64_t sum_avx2(const std::byte* data, size_t bytes) noexcept {
  __m256i sums[4] = {};
  for (size_t i = 0; i < bytes; i += sizeof(sums)) {
    for (size_t k = 0; k < 4; ++k) {
      const auto* from = reinterpret_cast<const __m256i*>(data + i + k * sizeof(__m256i));
      sums[k] = _mm256_add_epi64(sums[k], _mm256_loadu_si256(from));
    }
  }
  return fold(sums);
}

// Two products of 32 pairs are added in 16 bits and widened once, as for codes of up to 4 bits.
constexpr int kAvx2Sums = 6;

__attribute__((target("avx2"))) void multiply_add_avx2(int64_t rounds) noexcept {
  __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sums[kAvx2Sums] = {};
  for (__m256i& sum : sums) FLASHMOE_OPAQUE(sum);  // else they are all the same
  for (int64_t round = 0; round < rounds; ++round) {
    for (__m256i& sum : sums) {
      FLASHMOE_OPAQUE(a);
      FLASHMOE_OPAQUE(b);
      const __m256i pairs =
          _mm256_add_epi16(_mm256_maddubs_epi16(a, b), _mm256_maddubs_epi16(b, a));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
  }
  for (__m256i& sum : sums) FLASHMOE_OPAQUE(sum);
}

constexpr ProbeLoops kAvx2Loops = {sum_avx2, multiply_add_avx2, kAvx2Sums * 2 * 32 * 2};

__attribute__((target("avx512f"))) uint64_t sum_avx512(const std::byte* data,
                                                       size_t bytes) noexcept {
  __m512i sums[4] = {};
  for (size_t i = 0; i < bytes; i += sizeof(sums)) {
    for (size_t k = 0; k < 4; ++k) {
      sums[k] = _mm512_add_epi64(sums[k], _mm512_loadu_si512(data + i + k * sizeof(__m512i)));
    }
  }
  return fold(sums);
}

// More sums than latency times throughput of the instruction. Registers by name: compilers surround
// the intrinsic with copies here, which cost as much as the products.
constexpr int kAvx512Sums = 12;

__attribute__((target("avx512f,avx512vnni"))) void multiply_add_avx512(int64_t rounds) noexcept {
  const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
  for (int64_t round = 0; round < rounds; ++round) {
#define FLASHMOE_DOT(sum) "vpdpbusd %0, %1, %%zmm" #sum "\n\t"
    asm volatile(FLASHMOE_DOT(4) FLASHMOE_DOT(5) FLASHMOE_DOT(6) FLASHMOE_DOT(7) FLASHMOE_DOT(8)
                     FLASHMOE_DOT(9) FLASHMOE_DOT(10) FLASHMOE_DOT(11) FLASHMOE_DOT(12)
                         FLASHMOE_DOT(13) FLASHMOE_DOT(14) FLASHMOE_DOT(15)
                 :
                 : "v"(a), "v"(b)
                 : "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                   "xmm13", "xmm14", "xmm15");
#undef FLASHMOE_DOT
  }
}

constexpr ProbeLoops kAvx512Loops = {sum_avx512, multiply_add_avx512, kAvx512Sums * 64 * 2};

#elif defined(__aarch64__)

uint64_t sum_neon(const std::byte* data, size_t bytes) noexcept {
  uint64x2_t sums[8] = {};
  for (size_t i = 0; i < bytes; i += sizeof(sums)) {
    for (size_t k = 0; k < 8; ++k) {
      const auto* from = reinterpret_cast<const uint64_t*>(data + i + k * sizeof(uint64x2_t));
      sums[k] = vaddq_u64(sums[k], vld1q_u64(from));
    }
  }
  return fold(sums);
}

constexpr int kNeonSums = 12;

// The instruction by name: in clang 14 its intrinsic wants the whole file compiled for it.
#if defined(__clang__)
__attribute__((target("dotprod")))
#else
__attribute__((target("arch=armv8.2-a+dotprod")))
#endif
void multiply_add_neon(int64_t rounds) noexcept {
  const int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(5);
  for (int64_t round = 0; round < rounds; ++round) {
#define FLASHMOE_DOT(sum) "sdot v" #sum ".4s, %0.16b, %1.16b\n\t"
    asm volatile(FLASHMOE_DOT(16) FLASHMOE_DOT(17) FLASHMOE_DOT(18) FLASHMOE_DOT(19)
                     FLASHMOE_DOT(20) FLASHMOE_DOT(21) FLASHMOE_DOT(22) FLASHMOE_DOT(23)
                         FLASHMOE_DOT(24) FLASHMOE_DOT(25) FLASHMOE_DOT(26) FLASHMOE_DOT(27)
                 :
                 : "w"(a), "w"(b)
                 : "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26",
                   "v27");
#undef FLASHMOE_DOT
  }
}

constexpr ProbeLoops kNeonLoops = {sum_neon, multiply_add_neon, kNeonSums * 16 * 2};

#endif

#undef FLASHMOE_OPAQUE

}  // namespace

const ProbeLoops& probe_loops(kernels::cpu::Isa isa) {
  using kernels::cpu::Isa;
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kAvx512Loops;
  if (isa == Isa::kAvx2) return kAvx2Loops;
#elif defined(__aarch64__)
  if (isa != Isa::kScalar) return kNeonLoops;
#endif
  return kScalarLoops;
}

}  // namespace flashmoe::limits

#include "convert/synth_values.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/half.h"

namespace flashmoe::convert {

namespace {

using quant::DType;

constexpr int kIndexBits = 12;
constexpr size_t kValues = size_t{1} << kIndexBits;
constexpr int kBitsEach = 16;                     // of the stream, for one value
constexpr uint64_t kStride = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio: spreads neighbours

// The finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit depends on every bit.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t word(uint64_t key, uint64_t i) { return mix(key + i * kStride); }

double normal_quantile(double p) {
  double low = -10, high = 10;
  while (high - low > 1e-9) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::sqrt(2.0)) / 2 < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

double quantile_middle(size_t i) { return (static_cast<double>(i) + 0.5) / kValues; }

const std::array<float, kValues>& standard_normal() {
  static const auto values = [] {
    std::array<float, kValues> result;
    for (size_t i = 0; i < kValues; ++i) {
      result[i] = static_cast<float>(normal_quantile(quantile_middle(i)));
    }
    return result;
  }();
  return values;
}

float value(const Distribution& d, size_t i) {
  const auto u = static_cast<float>(quantile_middle(i));
  switch (d.kind) {
    case Distribution::Kind::kNormal:
      return d.mean + d.spread * standard_normal()[i];
    case Distribution::Kind::kDecay:
      return std::log(16 * u);
    case Distribution::Kind::kTimeStep:
      return std::log(std::expm1(0.001f * std::pow(100.0f, u)));
    case Distribution::Kind::kScale:
      return d.mean * (0.75f + 0.5f * u);
    case Distribution::Kind::kBias:
      return -d.spread * to_float(to_bf16(d.mean * (0.75f + 0.5f * u)));
  }
  return 0;
}

template <typename T, typename Narrow>
std::vector<std::byte> table_of(const Distribution& distribution, Narrow narrow) {
  std::vector<std::byte> table(kValues * sizeof(T));
  for (size_t i = 0; i < kValues; ++i) {
    const T v = narrow(value(distribution, i));
    std::memcpy(table.data() + i * sizeof(T), &v, sizeof(T));
  }
  return table;
}

template <typename T, typename Map>
void fill(uint64_t key, uint64_t first, std::span<std::byte> out, Map map) {
  CHECK(first % kStreamStep == 0 && out.size() % sizeof(T) == 0);
  uint64_t at = first / kStreamStep;
  const auto four = [&](uint64_t bits, size_t bytes, std::byte* to) {
    T values[kStreamStep];
    for (size_t i = 0; i < kStreamStep; ++i) {
      values[i] = map(static_cast<uint16_t>(bits >> (kBitsEach * i)));
    }
    std::memcpy(to, values, bytes);
  };
  std::byte* to = out.data();
  std::byte* const end = to + out.size();
  constexpr size_t kStepBytes = kStreamStep * sizeof(T);
  for (; static_cast<size_t>(end - to) >= kStepBytes; to += kStepBytes) {
    four(word(key, at++), kStepBytes, to);
  }
  if (to < end) four(word(key, at), static_cast<size_t>(end - to), to);
}

template <typename T>
void fill_from(uint64_t key, uint64_t first, const std::byte* table, std::span<std::byte> out) {
  fill<T>(key, first, out, [table](uint16_t bits) {
    T v;
    std::memcpy(&v, table + (bits >> (kBitsEach - kIndexBits)) * sizeof(T), sizeof(T));
    return v;
  });
}

}  // namespace

std::vector<std::byte> value_table(const Distribution& distribution, DType type) {
  switch (type) {
    case DType::kF32:
      return table_of<float>(distribution, [](float v) { return v; });
    case DType::kF16:
      return table_of<F16>(distribution, to_f16);
    case DType::kBf16:
      return table_of<Bf16>(distribution, to_bf16);
    default:
      CHECK(!"a weight's type");
  }
}

uint64_t stream_key(uint64_t seed, std::string_view name) {
  uint64_t key = mix(seed + kStride);
  for (const char c : name) key = mix(key + kStride * (static_cast<unsigned char>(c) + 1u));
  return key;
}

void fill_values(uint64_t key, uint64_t first, std::span<const std::byte> table, DType type,
                 std::span<std::byte> out) {
  CHECK(table.size() == kValues * quant::dtype_bytes(type));
  if (quant::dtype_bytes(type) == 2) {
    fill_from<uint16_t>(key, first, table.data(), out);
  } else {
    fill_from<uint32_t>(key, first, table.data(), out);
  }
}

void fill_bits(uint64_t key, uint64_t first, std::span<std::byte> out) {
  fill<uint16_t>(key, first, out, [](uint16_t bits) { return bits; });
}

}  // namespace flashmoe::convert

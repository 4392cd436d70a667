// Random numbers for made-up weights: any stretch of any tensor at once, at several GB/s. Owns the
// generator and the distributions; knows no tensors' names.
//
// The numbers are counted, not chained: word i of a stream is a hash of (key, i), so a value
// depends on nothing but its tensor and its place. A value takes 16 bits of its stream, of which
// the upper 12 choose one of 4096 equally likely values (the middles of as many quantiles).
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "quant/format.h"

namespace flashmoe::convert {

struct Distribution {
  enum class Kind {
    kNormal,    // mean and standard deviation
    kDecay,     // log of uniform (0, 16), as the delta net's A_log begins its training
    kTimeStep,  // softplus of it is log-uniform from 0.001 to 0.1: the delta net's dt_bias
    kScale,     // uniform within a quarter of the mean: scales of affine groups
    kBias,      // -spread times the kScale of the same bits, rounded to bf16
  };
  Kind kind = Kind::kNormal;
  float mean = 0;
  float spread = 0;

  auto operator<=>(const Distribution&) const = default;
};

// The 4096 values, in F32, F16 or BF16, as they lie in a file.
std::vector<std::byte> value_table(const Distribution& distribution, quant::DType type);

// The key of the stream that `name` has under `seed`.
uint64_t stream_key(uint64_t seed, std::string_view name);

// What is filled must begin at a multiple of this many values.
constexpr size_t kStreamStep = 4;

// Values [first, first + out.size() / size of a value) of the stream; `table` from value_table.
void fill_values(uint64_t key, uint64_t first, std::span<const std::byte> table, quant::DType type,
                 std::span<std::byte> out);
// The stream's bits as they are, as 16-bit values; out.size() is even.
void fill_bits(uint64_t key, uint64_t first, std::span<std::byte> out);

}  // namespace flashmoe::convert

// The innermost loops that measure a processor: a plain sum over memory, and int8 multiply-adds
// that never leave the registers. One pair for each instruction set, as the product kernels have.
// Owns no threads, buffers or clocks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace flashmoe::limits {

struct ProbeLoops {
  // A sum over data [bytes], a multiple of kSumStep; reading it is all that takes time.
  uint64_t (*sum)(const std::byte* data, size_t bytes) noexcept;
  // `rounds` times ops_per_round int8 operations, as the products of these instruction sets do
  // them; a multiply-add counts as two.
  void (*multiply_add)(int64_t rounds) noexcept;
  int64_t ops_per_round;
};

constexpr size_t kSumStep = 256;

// `isa` must be supported (kernels/cpu/isa.h).
const ProbeLoops& probe_loops(kernels::cpu::Isa isa);

}  // namespace flashmoe::limits

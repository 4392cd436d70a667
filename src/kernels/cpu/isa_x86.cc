// Which instruction sets this x86 processor has.
#include <cpuid.h>

#include "kernels/cpu/isa.h"

namespace flashmoe::kernels::cpu {

namespace {

bool has_f16c() {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}

bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

}  // namespace

bool isa_supported(Isa isa) {
  if (isa == Isa::kAvx512) return has_avx512();
  if (isa == Isa::kAvx2) return has_avx2();
  return isa == Isa::kScalar;
}

}  // namespace flashmoe::kernels::cpu

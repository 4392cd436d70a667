#include "kernels/cpu/isa.h"

#include <cstdlib>
#include <string_view>

#include "base/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace flashmoe::kernels::cpu {

namespace {

constexpr Isa kBestFirst[] = {Isa::kAvx512, Isa::kAvx2, Isa::kScalar};

#if defined(__x86_64__)
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
#endif

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx2:
      return "avx2";
    default:
      return "scalar";
  }
}

bool isa_supported(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return has_avx512();
  if (isa == Isa::kAvx2) return has_avx2();
#endif
  return isa == Isa::kScalar;
}

Isa chosen_isa() {
  const char* wanted = std::getenv("FLASHMOE_ISA");
  const bool any = wanted == nullptr || *wanted == '\0';
  for (Isa isa : kBestFirst) {
    if (!any && std::string_view(wanted) != isa_name(isa)) continue;
    if (isa_supported(isa)) return isa;
    if (!any) {
      throw_error(ErrorCode::kUsage, "FLASHMOE_ISA={}: this processor does not have it", wanted);
    }
  }
  throw_error(ErrorCode::kUsage, "FLASHMOE_ISA={}: unknown; choose scalar, avx2 or avx512", wanted);
}

}  // namespace flashmoe::kernels::cpu

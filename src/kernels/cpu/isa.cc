#include "kernels/cpu/isa.h"

#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace flashmoe::kernels::cpu {

namespace {

constexpr Isa kBestFirst[] = {Isa::kAvx512, Isa::kAvx2, Isa::kNeon, Isa::kScalar};

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kNeon:
      return "neon";
    default:
      return "scalar";
  }
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
  throw_error(ErrorCode::kUsage, "FLASHMOE_ISA={}: unknown; choose scalar, avx2, avx512 or neon",
              wanted);
}

}  // namespace flashmoe::kernels::cpu

// Which instruction set the CPU kernels use: the best that this processor has, or the one that the
// environment variable FLASHMOE_ISA names. Owns the choice, not the kernels.
#pragma once

namespace flashmoe::kernels::cpu {

enum class Isa {
  kScalar,  // plain C++
  kAvx2,    // AVX2, FMA, F16C
  kAvx512,  // AVX-512 F, BW, VL, VNNI
  kNeon,    // NEON of arm64 with dot products (ARMv8.2 DotProd)
};

const char* isa_name(Isa isa);  // "avx512"
bool isa_supported(Isa isa);    // by this processor and this program; in isa_<system>.cc
Isa chosen_isa();               // throws an Error when FLASHMOE_ISA cannot be had

}  // namespace flashmoe::kernels::cpu

// The loops of quantising compiled for AVX2; see quant/group_loops.inc.
#include "quant/group_loops.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

namespace flashmoe::quant {
extern const GroupLoops kAvx2GroupLoops;
}

#define FLASHMOE_GROUP_LOOPS kAvx2GroupLoops
#include "quant/group_loops.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

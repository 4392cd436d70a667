// Inlined throughout, so that no vector is ever passed.
#pragma GCC diagnostic ignored "-Wpsabi"

#include "quant/group_loops.h"

#define FLASHMOE_GROUP_LOOPS kPlainGroupLoops
#include "quant/group_loops.inc"

// Full attention of one layer over a paged key-value cache. Pieces of work for one thread each.
#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace flashmoe::kernels::host {

// Normalises and rotates the q and k heads of the segment's row r in place, and writes its keys
// and values into the segment's pages.
void rotate_and_store_row(const AttentionShape& shape, const AttentionWeights& weights,
                          const AttentionInput& input, const AttentionSegment& segment,
                          int64_t r) noexcept;

// Attention of the query heads that share one kv head, for the segment's row r, into its part of
// out [rows, query_width]. Softmax is taken in blocks of one page, cut at absolute positions, and
// combined in order, so the result does not depend on how a prompt is cut into chunks.
void attend(const AttentionShape& shape, const AttentionInput& input,
            const AttentionSegment& segment, int64_t r, int kv_head, float* out) noexcept;

}  // namespace flashmoe::kernels::host

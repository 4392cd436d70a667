// Operations on single rows, heads and segments: pieces of work for one thread each. The loops are
// written once (row_ops.inc) and compiled for each instruction set; a table holds one compilation.
// All tables give the same bits: nothing is reassociated or fused, and sums have a fixed order.
#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace flashmoe::kernels::host {

struct RowOps {
  const char* name;

  // a [n] · b [n], in 16 partial sums (element i in sum i mod 16) that are added pairwise: i and
  // i + 8, then i and i + 4, and so on.
  float (*dot)(const float* a, const float* b, int64_t n) noexcept;
  // out = x / sqrt(mean(x²) + eps) * weight. All [n]; out may be x.
  void (*rms_norm)(const float* x, const float* weight, int64_t n, float eps, float* out) noexcept;
  // gate [n] = silu(gate) * up [n].
  void (*silu_multiply)(float* gate, const float* up, int64_t n) noexcept;

  // mixed[row] = silu(causal convolution of qkv at the segment's row r), of the channels [begin,
  // end). qkv, mixed [rows, channels]. At the last row also fills these channels of conv_out.
  void (*convolve)(const DeltaNetShape& shape, const float* conv, const float* qkv,
                   const DeltaNetSegment& segment, int64_t r, int64_t begin, int64_t end,
                   float* mixed) noexcept;
  // Runs one value head over all rows of the segment: delta rule, then the gated norm into its
  // part of out [rows, value_width]. mixed [rows, channels] is the convolution's output. (Yang et
  // al., "Gated Delta Networks", 2024, in its recurrent form.)
  void (*delta_rule_head)(const DeltaNetShape& shape, const DeltaNetWeights& weights,
                          const DeltaNetInput& input, const float* mixed,
                          const DeltaNetSegment& segment, int head, float* out) noexcept;

  // Normalises and rotates the q and k heads of the segment's row r in place, and writes its keys
  // and values into the segment's pages.
  void (*rotate_and_store_row)(const AttentionShape& shape, const AttentionWeights& weights,
                               const AttentionInput& input, const AttentionSegment& segment,
                               int64_t r) noexcept;
  // Attention of query heads [head, head + n), n <= kHeadTile, that share one kv head, for the
  // segment's row r, into their part of out [rows, query_width]. The softmax is taken in blocks of
  // one page, cut at absolute positions, and combined in order, so the result does not depend on
  // how a prompt is cut into chunks.
  void (*attend)(const AttentionShape& shape, const AttentionInput& input,
                 const AttentionSegment& segment, int64_t r, int head, int n, float* out) noexcept;
  // The same in two steps, so that blocks can be computed at once: each block's part of `partial`
  // [blocks, partial_floats()], then these merged.
  void (*attend_block)(const AttentionShape& shape, const AttentionInput& input,
                       const AttentionSegment& segment, int64_t r, int head, int n, int64_t block,
                       float* partial) noexcept;
  void (*merge_blocks)(const AttentionShape& shape, const AttentionInput& input,
                       const AttentionSegment& segment, int64_t r, int head, int n, float* partial,
                       float* out) noexcept;
};

constexpr int kHeadTile = 8;

// Heads of attention and delta net are at most this wide; ModelConfig refuses larger ones.
constexpr int kMaxHeadDim = 512;

extern const RowOps kScalarRowOps;
#if defined(__x86_64__)
extern const RowOps kAvx2RowOps;
extern const RowOps kAvx512RowOps;
#elif defined(__aarch64__)
extern const RowOps kNeonRowOps;
#endif

}  // namespace flashmoe::kernels::host

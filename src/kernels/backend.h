// The layer-sized operations of the models behind one interface, so that the forward pass is the
// same on every device. A backend owns its threads' work and its scratch memory; it knows nothing
// of experts' whereabouts, of files or of sequences beyond what a call hands it.
//
// Activations are float32, row-major, in the backend's memory. A row is one token. What a row
// gets never depends on which rows are computed with it, nor on the number of threads.
// Operations run in the order they are called; on return their results may be read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/format.h"
#include "quant/storage.h"

namespace flashmoe::kernels {

// A weight matrix as it lies in its file: up to three row-major parts, possibly unaligned.
struct FileMatrix {
  quant::Format format;
  int64_t rows = 0;  // outputs
  int64_t cols = 0;  // inputs
  const std::byte* codes = nullptr;
  const std::byte* scales = nullptr;  // nullptr but for affine formats
  const std::byte* biases = nullptr;
  // Another order than row by row, of the whole matrix: see quant/storage.h. `biases` are its
  // zeros.
  quant::Storage storage{};
  const std::byte* group_of_input = nullptr;  // int32 [cols], of permuted formats, which set
                                              // storage.group even where they lie in rows
};

// A weight matrix in the backend's compute layout; a view, the bytes belong to the caller.
struct Matrix {
  quant::Format format;
  int64_t rows = 0;
  int64_t cols = 0;
  const std::byte* data = nullptr;

  explicit operator bool() const { return data != nullptr; }
};

// How exactly a product treats its activations. `kFast` may round them to 8 bits (see
// quant/arithmetic.h); routers and gates, where a rounding decides more, ask for `kFloat`.
enum class Precision { kFast, kFloat };

// One of several products that share their input: y [rows, weight.rows] = x · weightᵀ.
struct LinearJob {
  Matrix weight;
  float* y = nullptr;
  Precision precision = Precision::kFast;
};

// A gated feed-forward network: y = down(silu(gate x) * up x).
struct FeedForward {
  Matrix gate;  // [intermediate, hidden]
  Matrix up;    // [intermediate, hidden]
  Matrix down;  // [hidden, intermediate]
};

// One feed-forward network applied to some rows of x: y[i] = network(x[rows[i]]).
struct FeedForwardJob {
  FeedForward network;
  std::span<const int32_t> rows;
  float* y = nullptr;      // [rows.size(), hidden]
  float* inner = nullptr;  // [rows.size(), intermediate], if given: down's input, for who measures
};

// The router's choice for one token: its expert's output is multiplied with `weight`. `target` is
// the row of the experts' outputs that holds it; whoever runs the experts fills it in.
struct Route {
  int32_t expert;
  float weight;
  int32_t target;
};

// Sizes of gated delta net layers, see docs/architecture.md. Channels of the convolution are
// [q of all key heads | k of all key heads | v of all value heads].
struct DeltaNetShape {
  int key_heads = 0;
  int value_heads = 0;  // a multiple of key_heads
  int key_dim = 0;
  int value_dim = 0;
  int conv_width = 0;
  float norm_eps = 0;
  // Value head h reads key head h / (value_heads / key_heads); tiled: h % key_heads.
  bool tiled = false;

  int key_head(int value_head) const {
    return tiled ? value_head % key_heads : value_head / (value_heads / key_heads);
  }
  int key_width() const { return key_heads * key_dim; }
  int value_width() const { return value_heads * value_dim; }
  int channels() const { return 2 * key_width() + value_width(); }
  int64_t conv_state_floats() const { return int64_t{conv_width - 1} * channels(); }
  int64_t state_floats() const { return int64_t{value_heads} * key_dim * value_dim; }
};

struct DeltaNetWeights {
  const float* conv = nullptr;     // [conv_width, channels], the oldest input's taps first
  const float* decay = nullptr;    // [value_heads], -exp(A_log)
  const float* dt_bias = nullptr;  // [value_heads]
  const float* norm = nullptr;     // [value_dim]
};

// Consecutive rows of one sequence, with its recurrent state before and after them.
struct DeltaNetSegment {
  int64_t row_begin = 0;
  int64_t rows = 0;
  const float* conv_in = nullptr;   // [conv_width - 1, channels], the last inputs, oldest first
  const float* state_in = nullptr;  // [value_heads, key_dim, value_dim]
  float* conv_out = nullptr;        // as conv_in; must not overlap it
  float* state_out = nullptr;       // as state_in; may be the same memory
};

struct DeltaNetInput {
  const float* qkv = nullptr;   // [rows, channels], before the convolution
  const float* z = nullptr;     // [rows, value_width], gate of the output norm
  const float* beta = nullptr;  // [rows, value_heads], before the sigmoid
  const float* dt = nullptr;    // [rows, value_heads], "a" of the paper, before dt_bias
};

// Element type of the key-value cache.
enum class KvType { kF16, kF32 };

constexpr int kPageTokens = 256;

struct AttentionShape {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int rotary_dim = 0;  // the first dims of a head, rotated as two halves
  float norm_eps = 0;
  KvType kv_type = KvType::kF32;

  int query_width() const { return heads * head_dim; }
  int kv_width() const { return kv_heads * head_dim; }
  // Bytes of one layer's part of a page: keys [kv_heads, kPageTokens, head_dim], then values.
  size_t page_bytes() const {
    return size_t{2} * kv_width() * kPageTokens * (kv_type == KvType::kF16 ? 2 : 4);
  }
  // What a row's attention to one page comes to, before pages are merged: for each head its
  // output, its highest score and the sum of its weights.
  int64_t partial_floats() const { return int64_t{heads} * (head_dim + 2); }
};

struct AttentionWeights {
  const float* q_norm = nullptr;    // [head_dim]
  const float* k_norm = nullptr;    // [head_dim]
  const float* inv_freq = nullptr;  // [rotary_dim / 2]
};

// Consecutive rows of one sequence. Keys and values of its rows are written into its pages.
struct AttentionSegment {
  int64_t row_begin = 0;
  int64_t rows = 0;
  int64_t position = 0;                 // of the first row in its sequence
  std::span<std::byte* const> pages{};  // this layer's part of each page of the sequence
};

struct AttentionInput {
  float* q = nullptr;           // [rows, query_width]; overwritten
  float* k = nullptr;           // [rows, kv_width]; overwritten
  const float* v = nullptr;     // [rows, kv_width]
  const float* gate = nullptr;  // [rows, query_width] before the sigmoid, or nullptr
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  virtual bool supports(const quant::Format& format) const = 0;

  // The compute layout. `prepare` fills rows [row_begin, row_begin + source.rows) of a matrix of
  // `rows` rows at `destination`; row_begin is a multiple of kRowBlock, and so is source.rows
  // unless it reaches the end.
  static constexpr int64_t kRowBlock = 16;
  virtual size_t prepared_bytes(const quant::Format& format, int64_t rows, int64_t cols) const = 0;
  virtual void prepare(const FileMatrix& source, int64_t row_begin, int64_t rows,
                       std::byte* destination) = 0;
  // Whether a matrix of this storage has the layout already: `prepare` would copy its codes.
  virtual bool is_laid_out(const quant::Storage&) const { return false; }
  // Scratch bytes this backend holds when no call has more than `rows` rows, no product is wider
  // than `width` inputs, no feed-forward network than `intermediate`, and no sequence is longer
  // than `positions`.
  virtual size_t scratch_bytes(int64_t rows, int64_t width, int64_t intermediate,
                               const AttentionShape& attention, int64_t positions) const = 0;

  // out [ids.size(), table.cols] = rows of the table.
  virtual void embed(const Matrix& table, std::span<const int32_t> ids, float* out) = 0;
  // out = x / sqrt(mean(x²) + eps) * weight. x, out [rows, width], weight [width].
  virtual void rms_norm(const float* x, const float* weight, int64_t rows, int64_t width, float eps,
                        float* out) = 0;
  // x [n] += y [n].
  virtual void add(float* x, const float* y, int64_t n) = 0;
  // x [rows, cols]; every job's weight has `cols` columns.
  virtual void linear(const float* x, int64_t rows, int64_t cols,
                      std::span<const LinearJob> jobs) = 0;
  // x [rows, hidden]; no job's y overlaps x or another's.
  virtual void feed_forward(const float* x, int64_t hidden,
                            std::span<const FeedForwardJob> jobs) = 0;
  // Convolution, delta rule and gated norm. out [rows, value_width].
  virtual void delta_net(const DeltaNetShape& shape, const DeltaNetWeights& weights,
                         const DeltaNetInput& input, std::span<const DeltaNetSegment> segments,
                         float* out) = 0;
  // Norms, rotary embedding, causal attention over the pages, gate. out [rows, query_width].
  virtual void attention(const AttentionShape& shape, const AttentionWeights& weights,
                         const AttentionInput& input, std::span<const AttentionSegment> segments,
                         float* out) = 0;
  // Softmax over all experts, then the k most probable (lowest id on ties), most probable first;
  // weights divided by their sum if `normalize`. logits [rows, experts], routes [rows, k].
  virtual void route(const float* logits, int64_t rows, int experts, int k, bool normalize,
                     Route* routes) = 0;
  // out [rows, hidden] = sum of weight * y over the row's routes, within kShards virtual shards
  // (expert id mod kShards) in id order, then over shards in order; plus, when `shared` is given,
  // sigmoid(shared_gate [rows]) * shared [rows, hidden]. routes [rows, k], y [targets, hidden].
  static constexpr int kShards = 8;
  virtual void combine(const Route* routes, const float* y, int64_t rows, int k, int64_t hidden,
                       const float* shared, const float* shared_gate, float* out) = 0;
};

}  // namespace flashmoe::kernels

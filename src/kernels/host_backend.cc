#include "kernels/host_backend.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "kernels/host/input_order.h"
#include "kernels/host/route.h"

namespace flashmoe::kernels {

using host::order_bytes;
using host::order_of;
using host::without_order;

namespace {

// Rows [begin, begin + n) of the source. Those of another storage are unpacked into `buffer`.
FileMatrix file_rows(const FileMatrix& source, const int32_t* order, int64_t begin, int64_t n,
                     std::vector<std::byte>* buffer) {
  const quant::Format& format = source.format;
  const std::array<size_t, 3> row_bytes = {format.code_bytes(source.cols),
                                           format.scale_bytes(source.cols),
                                           format.bias_bytes(source.cols)};
  FileMatrix part = source;
  part.rows = n;
  if (source.storage.in_rows()) {
    const size_t first = static_cast<size_t>(begin);
    part.codes += first * row_bytes[0];
    if (row_bytes[1] > 0) part.scales += first * row_bytes[1];
    if (row_bytes[2] > 0) part.biases += first * row_bytes[2];
    return part;
  }
  const size_t count = static_cast<size_t>(n);
  buffer->resize(count * format.row_bytes(source.cols));
  std::byte* codes = buffer->data();
  std::byte* scales = codes + count * row_bytes[0];
  std::byte* biases = scales + count * row_bytes[1];
  quant::unpack_rows({source.storage, format, source.rows, source.cols, source.codes, source.scales,
                      source.biases},
                     order, begin, n, codes, scales, biases);
  part.codes = codes;
  part.scales = scales;
  part.biases = biases;
  part.storage = {};
  return part;
}

}  // namespace

size_t HostBackend::prepared_bytes(const quant::Format& format, int64_t rows, int64_t cols) const {
  return order_bytes(format, cols) + layout_bytes(format, rows, cols);
}

void HostBackend::prepare(const FileMatrix& source, int64_t row_begin, int64_t rows,
                          std::byte* destination) {
  if (is_laid_out(source.storage)) {
    if (row_begin > 0) destination += layout_bytes(source.format, row_begin, source.cols);
    return copy(source.codes, layout_bytes(source.format, source.rows, source.cols), destination);
  }
  const int32_t* order = nullptr;
  if (source.format.permuted) {
    int32_t* inputs = reinterpret_cast<int32_t*>(destination);
    CHECK(quant::sort_inputs(source.group_of_input, source.cols, source.storage.group, inputs));
    order = inputs;
    destination += order_bytes(source.format, source.cols);
  }
  const int64_t step = source.storage.in_rows() ? 8 * kRowBlock : 2 * kRowBlock;
  pool_.run(static_cast<int>((source.rows + step - 1) / step), [&](int task) noexcept {
    thread_local std::vector<std::byte> buffer;
    const int64_t begin = task * step;
    const FileMatrix part =
        file_rows(source, order, begin, std::min(step, source.rows - begin), &buffer);
    lay_out(part, row_begin + begin, rows, destination);
  });
}

void HostBackend::copy(const std::byte* from, size_t bytes, std::byte* to) {
  constexpr size_t kPiece = size_t{64} << 10;
  pool_.run(static_cast<int>((bytes + kPiece - 1) / kPiece), [&](int task) noexcept {
    const size_t begin = static_cast<size_t>(task) * kPiece;
    std::memcpy(to + begin, from + begin, std::min(kPiece, bytes - begin));
  });
}

std::byte* HostBackend::Scratch::reserve(size_t bytes) {
  if (buffer_.bytes() < bytes) {
    buffer_ = AlignedBuffer();  // first give the old one back
    buffer_ = AlignedBuffer(bytes);
  }
  return buffer_.data();
}

size_t HostBackend::scratch_bytes(int64_t rows, int64_t width, int64_t intermediate,
                                  const AttentionShape& attention, int64_t positions) const {
  const auto in_form = [&](int64_t cols, Form form) { return operand_row_bytes(cols, form); };
  const auto operand = [&](int64_t cols) {
    return std::max(
        {in_form(cols, Form::kRounded), in_form(cols, Form::kSplit), in_form(cols, Form::kFloat)});
  };
  // A product's input in all forms, or a network's in two orders, and what it gives down.
  const size_t inputs = std::max(
      in_form(width, Form::kRounded) + in_form(width, Form::kSplit) + in_form(width, Form::kFloat),
      2 * operand(width));
  const size_t row_bytes = inputs + operand(intermediate) +
                           static_cast<size_t>(2 * intermediate + width) * sizeof(float);
  const int64_t pages = (positions + kPageTokens - 1) / kPageTokens;
  return static_cast<size_t>(rows) * row_bytes +
         static_cast<size_t>(pages * attention.partial_floats()) * sizeof(float);
}

void HostBackend::embed(const Matrix& table, std::span<const int32_t> ids, float* out) {
  const Matrix body = without_order(table);
  pool_.run(static_cast<int>(ids.size()), [&](int i) noexcept {
    float* row = out + i * table.cols;
    decode_row(body, ids[i], row);
    if (!table.format.permuted) return;
    thread_local std::vector<float> sorted;
    sorted.assign(row, row + table.cols);
    for (int64_t c = 0; c < table.cols; ++c) row[order_of(table)[c]] = sorted[c];
  });
}

void HostBackend::rms_norm(const float* x, const float* weight, int64_t rows, int64_t width,
                           float eps, float* out) {
  const int64_t step = rows_per_task(width);
  pool_.run(static_cast<int>((rows + step - 1) / step), [&](int task) noexcept {
    for (int64_t r = task * step; r < std::min(rows, (task + 1) * step); ++r) {
      ops_.rms_norm(x + r * width, weight, width, eps, out + r * width);
    }
  });
}

void HostBackend::add(float* x, const float* y, int64_t n) {
  const int64_t tasks = (n + kFloatsPerTask - 1) / kFloatsPerTask;
  pool_.run(static_cast<int>(tasks), [&](int task) noexcept {
    const int64_t begin = task * kFloatsPerTask;
    const int64_t end = std::min(n, begin + kFloatsPerTask);
    for (int64_t i = begin; i < end; ++i) x[i] += y[i];
  });
}

void HostBackend::delta_net(const DeltaNetShape& shape, const DeltaNetWeights& weights,
                            const DeltaNetInput& input, std::span<const DeltaNetSegment> segments,
                            float* out) {
  int64_t rows = 0;
  for (const DeltaNetSegment& s : segments) rows = std::max(rows, s.row_begin + s.rows);
  float* mixed = reinterpret_cast<float*>(
      conv_scratch_.reserve(static_cast<size_t>(rows * shape.channels()) * sizeof(float)));
  // Two stages a segment: its convolution, by rows and pieces of channels, and its heads.
  constexpr int64_t kPiece = 2048;
  const int64_t channels = shape.channels(), pieces = (channels + kPiece - 1) / kPiece;
  const int count = static_cast<int>(segments.size());
  tasks_.clear();
  for (const DeltaNetSegment& segment : segments) tasks_.add(segment.rows * pieces, 1);
  for (int s = 0; s < count; ++s) tasks_.add(shape.value_heads, 1, s);
  tasks_.run(pool_, [&](int stage, int64_t i, int64_t) noexcept {
    const DeltaNetSegment& segment = segments[stage % count];
    if (stage < count) {
      const int64_t channel = i % pieces * kPiece;
      ops_.convolve(shape, weights.conv, input.qkv, segment, i / pieces, channel,
                    std::min(channels, channel + kPiece), mixed);
    } else {
      ops_.delta_rule_head(shape, weights, input, mixed, segment, static_cast<int>(i), out);
    }
  });
}

namespace {

// Up to kHeadTile query heads that share a kv head are computed together.
struct HeadTiles {
  int group, tiles;  // query heads of a kv head, and the tiles they make
  int count;         // of all kv heads

  explicit HeadTiles(const AttentionShape& shape)
      : group(shape.heads / shape.kv_heads),
        tiles((group + host::kHeadTile - 1) / host::kHeadTile),
        count(shape.kv_heads * tiles) {}
  int first_head(int64_t tile) const {
    return static_cast<int>(tile) / tiles * group +
           static_cast<int>(tile) % tiles * host::kHeadTile;
  }
  int heads(int64_t tile) const {
    return std::min(host::kHeadTile, group - static_cast<int>(tile) % tiles * host::kHeadTile);
  }
};

}  // namespace

void HostBackend::attention(const AttentionShape& shape, const AttentionWeights& weights,
                            const AttentionInput& input, std::span<const AttentionSegment> segments,
                            float* out) {
  const HeadTiles tiles(shape);
  for (const AttentionSegment& segment : segments) {
    pool_.run(static_cast<int>(segment.rows), [&](int r) noexcept {
      ops_.rotate_and_store_row(shape, weights, input, segment, r);
    });
    if (segment.rows == 1 && segment.position >= kPageTokens) {
      attend_by_blocks(shape, input, segment, out);
      continue;
    }
    pool_.run(static_cast<int>(segment.rows) * tiles.count, [&](int task) noexcept {
      const int tile = task % tiles.count;
      ops_.attend(shape, input, segment, task / tiles.count, tiles.first_head(tile),
                  tiles.heads(tile), out);
    });
  }
}

// A single row has few heads, but may see many pages.
void HostBackend::attend_by_blocks(const AttentionShape& shape, const AttentionInput& input,
                                   const AttentionSegment& segment, float* out) {
  const HeadTiles tiles(shape);
  const int64_t blocks = segment.position / kPageTokens + 1;
  float* partial = reinterpret_cast<float*>(partial_scratch_.reserve(
      static_cast<size_t>(blocks * shape.partial_floats()) * sizeof(float)));
  // For each tile a stage for its blocks; then for each a stage that merges them.
  tasks_.clear();
  for (int tile = 0; tile < tiles.count; ++tile) tasks_.add(blocks, 1);
  for (int tile = 0; tile < tiles.count; ++tile) tasks_.add(1, 1, tile);
  tasks_.run(pool_, [&](int stage, int64_t block, int64_t) noexcept {
    const int tile = stage % tiles.count;
    const int head = tiles.first_head(tile), n = tiles.heads(tile);
    if (stage < tiles.count) {
      ops_.attend_block(shape, input, segment, 0, head, n, block, partial);
    } else {
      ops_.merge_blocks(shape, input, segment, 0, head, n, partial, out);
    }
  });
}

void HostBackend::route(const float* logits, int64_t rows, int experts, int k, bool normalize,
                        Route* routes) {
  pool_.run(static_cast<int>(rows), [&](int r) noexcept {
    host::route_row(logits + int64_t{r} * experts, experts, k, normalize, routes + int64_t{r} * k);
  });
}

void HostBackend::combine(const Route* routes, const float* y, int64_t rows, int k, int64_t hidden,
                          const float* shared, const float* shared_gate, float* out) {
  pool_.run(static_cast<int>(rows), [&](int r) noexcept {
    host::combine_row(routes + int64_t{r} * k, k, y, hidden,
                      shared != nullptr ? shared + r * hidden : nullptr,
                      shared != nullptr ? shared_gate[r] : 0, out + r * hidden);
  });
}

}  // namespace flashmoe::kernels

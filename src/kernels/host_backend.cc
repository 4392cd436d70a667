#include "kernels/host_backend.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/host/route.h"

namespace flashmoe::kernels {

namespace {

// Rows of cheap operations are handed to threads in runs of about this many floats.
constexpr int64_t kFloatsPerTask = 16384;

int64_t rows_per_task(int64_t width) { return std::max<int64_t>(1, kFloatsPerTask / width); }

// Fills segment.conv_out with the last conv_width - 1 inputs after the segment.
void save_conv_state(const DeltaNetShape& shape, const float* qkv, const DeltaNetSegment& segment) {
  const int64_t channels = shape.channels();
  for (int i = 0; i < shape.conv_width - 1; ++i) {
    const int64_t row = segment.rows - (shape.conv_width - 1) + i;
    const float* x = row >= 0 ? qkv + (segment.row_begin + row) * channels
                              : segment.conv_in + (shape.conv_width - 1 + row) * channels;
    std::copy(x, x + channels, segment.conv_out + i * channels);
  }
}

}  // namespace

std::byte* HostBackend::Scratch::reserve(size_t bytes) {
  if (buffer_.bytes() < bytes) {
    buffer_ = AlignedBuffer();  // first give the old one back
    buffer_ = AlignedBuffer(bytes);
  }
  return buffer_.data();
}

size_t HostBackend::scratch_bytes(int64_t rows, int64_t width, int64_t intermediate) const {
  const auto operand = [&](int64_t cols) {
    return operand_row_bytes(cols, Precision::kFast) + operand_row_bytes(cols, Precision::kFloat);
  };
  const size_t row_bytes = operand(width) + operand(intermediate) +
                           static_cast<size_t>(2 * intermediate + width) * sizeof(float);
  return static_cast<size_t>(rows) * row_bytes;
}

void HostBackend::embed(const Matrix& table, std::span<const int32_t> ids, float* out) {
  pool_.run(static_cast<int>(ids.size()),
            [&](int i) noexcept { decode_row(table, ids[i], out + i * table.cols); });
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

void HostBackend::run_products() {
  // A task streams one piece of memory, and each piece costs a start; but threads must come out
  // even.
  constexpr int64_t kTasksPerThread = 8, kLeastWork = 64 * 1024, kMostWork = 1024 * 1024;
  const auto row_work = [](const Product& p) {  // weights, counted again for every 8 input rows
    return p.weight->cols * std::max<int64_t>(1, p.operand->rows / 8);
  };
  int64_t work = 0;
  for (const Product& p : products_) work += p.weight->rows * row_work(p);
  const int64_t task_work =
      std::clamp(work / (pool_.threads() * kTasksPerThread), kLeastWork, kMostWork);
  tasks_.clear();
  for (const Product& p : products_) {
    const int64_t blocks = (p.weight->rows + kRowBlock - 1) / kRowBlock;
    const int64_t step = std::max<int64_t>(1, task_work / (kRowBlock * row_work(p)));
    for (int64_t begin = 0; begin < blocks; begin += step) {
      tasks_.push_back({&p, begin, std::min(blocks, begin + step)});
    }
  }
  pool_.run(static_cast<int>(tasks_.size()), [&](int i) noexcept {
    const Task& t = tasks_[i];
    const Product& p = *t.product;
    multiply(*p.weight, *p.operand, t.block_begin, t.block_end, p.y, p.y_stride);
  });
  products_.clear();
}

void HostBackend::linear(const float* x, int64_t rows, int64_t cols,
                         std::span<const LinearJob> jobs) {
  // The input is loaded once for each precision that some job needs.
  const auto precision_of = [&](const LinearJob& job) {
    return operand_precision(job.weight.format, job.precision);
  };
  constexpr Precision kPrecisions[] = {Precision::kFast, Precision::kFloat};
  std::byte* data = operand_scratch_.reserve(
      static_cast<size_t>(rows) *
      (operand_row_bytes(cols, Precision::kFast) + operand_row_bytes(cols, Precision::kFloat)));
  operands_.assign(2, {});
  for (size_t i = 0; i < 2; ++i) {
    const Precision p = kPrecisions[i];
    if (std::none_of(jobs.begin(), jobs.end(),
                     [&](const auto& j) { return precision_of(j) == p; })) {
      continue;
    }
    operands_[i] = {rows, cols, p, data};
    data += static_cast<size_t>(rows) * operand_row_bytes(cols, p);
    pool_.run(static_cast<int>(rows),
              [&](int r) noexcept { load_operand(x + r * cols, r, operands_[i]); });
  }
  for (const LinearJob& job : jobs) {
    CHECK(job.weight.cols == cols);
    products_.push_back({&job.weight, &operands_[precision_of(job) == Precision::kFast ? 0 : 1],
                         job.y, job.weight.rows});
  }
  run_products();
}

Precision HostBackend::input_precision(const FeedForward& network) const {
  const bool fast = operand_precision(network.gate.format, Precision::kFast) == Precision::kFast &&
                    operand_precision(network.up.format, Precision::kFast) == Precision::kFast;
  return fast ? Precision::kFast : Precision::kFloat;
}

void HostBackend::feed_forward(const float* x, int64_t hidden, std::span<const FeedForwardJob> jobs,
                               float* y) {
  // Per job: its gathered input rows, then its hidden rows, as operands.
  operands_.assign(2 * jobs.size(), {});
  pair_jobs_.clear();
  int64_t widest = 0;
  size_t operand_bytes = 0;
  for (size_t j = 0; j < jobs.size(); ++j) {
    const FeedForward& network = jobs[j].network;
    CHECK(network.gate.cols == hidden && network.down.rows == hidden);
    const int64_t n = static_cast<int64_t>(jobs[j].rows.size());
    for (int64_t i = 0; i < n; ++i)
      pair_jobs_.push_back({static_cast<int>(j), static_cast<int>(i)});
    widest = std::max(widest, network.gate.rows);
    operands_[2 * j] = {n, hidden, input_precision(network), nullptr};
    operands_[2 * j + 1] = {n, network.gate.rows,
                            operand_precision(network.down.format, Precision::kFast), nullptr};
    for (const Operand* o : {&operands_[2 * j], &operands_[2 * j + 1]}) {
      operand_bytes += static_cast<size_t>(n) * operand_row_bytes(o->cols, o->precision);
    }
  }
  const int64_t pairs = static_cast<int64_t>(pair_jobs_.size());
  std::byte* place = operand_scratch_.reserve(operand_bytes);
  for (Operand& o : operands_) {
    o.data = place;
    place += static_cast<size_t>(o.rows) * operand_row_bytes(o.cols, o.precision);
  }
  float* const gate = reinterpret_cast<float*>(
      hidden_scratch_.reserve(static_cast<size_t>(pairs * 2 * widest) * sizeof(float)));
  float* const up = gate + pairs * widest;

  pool_.run(static_cast<int>(pairs), [&](int p) noexcept {
    const auto [job, i] = pair_jobs_[p];
    load_operand(x + jobs[job].rows[i] * hidden, i, operands_[2 * job]);
  });
  int64_t first = 0;
  for (size_t j = 0; j < jobs.size(); ++j) {
    products_.push_back({&jobs[j].network.gate, &operands_[2 * j], gate + first * widest, widest});
    products_.push_back({&jobs[j].network.up, &operands_[2 * j], up + first * widest, widest});
    first += operands_[2 * j].rows;
  }
  run_products();
  pool_.run(static_cast<int>(pairs), [&](int p) noexcept {
    const auto [job, i] = pair_jobs_[p];
    const Operand& hidden_rows = operands_[2 * job + 1];
    ops_.silu_multiply(gate + p * widest, up + p * widest, hidden_rows.cols);
    if (float* inner = jobs[job].inner) {
      std::copy_n(gate + p * widest, hidden_rows.cols, inner + i * hidden_rows.cols);
    }
    load_operand(gate + p * widest, i, hidden_rows);
  });
  for (size_t j = 0; j < jobs.size(); ++j) {
    products_.push_back(
        {&jobs[j].network.down, &operands_[2 * j + 1], y + jobs[j].target_begin * hidden, hidden});
  }
  run_products();
}

void HostBackend::delta_net(const DeltaNetShape& shape, const DeltaNetWeights& weights,
                            const DeltaNetInput& input, std::span<const DeltaNetSegment> segments,
                            float* out) {
  int64_t rows = 0;
  for (const DeltaNetSegment& s : segments) rows = std::max(rows, s.row_begin + s.rows);
  float* mixed = reinterpret_cast<float*>(
      conv_scratch_.reserve(static_cast<size_t>(rows * shape.channels()) * sizeof(float)));
  for (const DeltaNetSegment& segment : segments) {
    pool_.run(static_cast<int>(segment.rows), [&](int r) noexcept {
      ops_.convolve_row(shape, weights.conv, input.qkv, segment, r, mixed);
    });
    save_conv_state(shape, input.qkv, segment);
  }
  pool_.run(static_cast<int>(segments.size()) * shape.value_heads, [&](int task) noexcept {
    ops_.delta_rule_head(shape, weights, input, mixed, segments[task / shape.value_heads],
                         task % shape.value_heads, out);
  });
}

void HostBackend::attention(const AttentionShape& shape, const AttentionWeights& weights,
                            const AttentionInput& input, std::span<const AttentionSegment> segments,
                            float* out) {
  for (const AttentionSegment& segment : segments) {
    pool_.run(static_cast<int>(segment.rows), [&](int r) noexcept {
      ops_.rotate_and_store_row(shape, weights, input, segment, r);
    });
    // A task is a row and up to kHeadTile query heads that share a kv head.
    const int group = shape.heads / shape.kv_heads;
    const int tiles = (group + host::kHeadTile - 1) / host::kHeadTile;
    const int row_tasks = shape.kv_heads * tiles;
    pool_.run(static_cast<int>(segment.rows) * row_tasks, [&](int task) noexcept {
      const int tile = task % row_tasks;
      const int first = tile % tiles * host::kHeadTile;
      ops_.attend(shape, input, segment, task / row_tasks, tile / tiles * group + first,
                  std::min(host::kHeadTile, group - first), out);
    });
  }
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

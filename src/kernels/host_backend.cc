#include "kernels/host_backend.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/host/attention.h"
#include "kernels/host/delta_net.h"
#include "kernels/host/elementwise.h"
#include "kernels/host/route.h"

namespace flashmoe::kernels {

namespace {

// Rows of cheap operations are handed to threads in runs of about this many floats.
constexpr int64_t kFloatsPerTask = 16384;

int64_t rows_per_task(int64_t width) { return std::max<int64_t>(1, kFloatsPerTask / width); }

int64_t blocks_of(const Matrix& weight) {
  return (weight.rows + Backend::kRowBlock - 1) / Backend::kRowBlock;
}

}  // namespace

std::byte* HostBackend::Scratch::reserve(size_t bytes) {
  if (buffer_.bytes() < bytes) {
    buffer_ = AlignedBuffer();  // first give the old one back
    buffer_ = AlignedBuffer(bytes);
  }
  return buffer_.data();
}

size_t HostBackend::scratch_bytes(int64_t rows, int64_t width, int64_t experts,
                                  int64_t intermediate) const {
  const size_t pairs = static_cast<size_t>(rows * std::max<int64_t>(1, experts));
  const size_t input = pairs * std::max(operand_row_bytes(width, Precision::kFast),
                                        operand_row_bytes(width, Precision::kFloat));
  const size_t hidden = pairs * static_cast<size_t>(2 * intermediate) * sizeof(float);
  const size_t hidden_operand = pairs * operand_row_bytes(intermediate, Precision::kFast);
  const size_t conv = static_cast<size_t>(rows * width) * sizeof(float);
  return input + hidden + hidden_operand + conv;
}

void HostBackend::embed(const Matrix& table, std::span<const int32_t> ids, float* out) {
  pool_.run(static_cast<int>(ids.size()), [&](int i) noexcept {
    decode_row(table, ids[i], out + i * table.cols);
  });
}

void HostBackend::rms_norm(const float* x, const float* weight, int64_t rows, int64_t width,
                           float eps, float* out) {
  const int64_t step = rows_per_task(width);
  pool_.run(static_cast<int>((rows + step - 1) / step), [&](int task) noexcept {
    for (int64_t r = task * step; r < std::min(rows, (task + 1) * step); ++r) {
      host::rms_norm(x + r * width, weight, width, eps, out + r * width);
    }
  });
}

void HostBackend::add(float* x, const float* y, int64_t n) {
  const int64_t tasks = (n + kFloatsPerTask - 1) / kFloatsPerTask;
  pool_.run(static_cast<int>(tasks), [&](int task) noexcept {
    const int64_t begin = task * kFloatsPerTask;
    host::add(x + begin, y + begin, std::min(n - begin, kFloatsPerTask));
  });
}

void HostBackend::add_tasks(const Matrix& weight, const Operand& operand, float* y,
                            int64_t y_stride) {
  constexpr int64_t kWeightsPerTask = 256 * 1024;
  const int64_t blocks = blocks_of(weight);
  const int64_t step =
      std::max<int64_t>(1, kWeightsPerTask / (kRowBlock * weight.cols * std::max<int64_t>(1, operand.rows / 8)));
  for (int64_t begin = 0; begin < blocks; begin += step) {
    tasks_.push_back({&weight, &operand, y, y_stride, begin, std::min(blocks, begin + step)});
  }
}

void HostBackend::run_tasks() {
  pool_.run(static_cast<int>(tasks_.size()), [&](int i) noexcept {
    const Task& t = tasks_[i];
    multiply(*t.weight, *t.operand, t.block_begin, t.block_end, t.y, t.y_stride);
  });
  tasks_.clear();
}

void HostBackend::linear(const float* x, int64_t rows, int64_t cols,
                         std::span<const LinearJob> jobs) {
  // The input is loaded once for each precision that some job asks for.
  const auto wanted = [&](Precision p) {
    return std::any_of(jobs.begin(), jobs.end(), [&](const LinearJob& j) { return j.precision == p; });
  };
  constexpr Precision kPrecisions[] = {Precision::kFast, Precision::kFloat};
  operands_.assign(2, {});
  size_t bytes = 0;
  for (Precision p : kPrecisions) bytes += wanted(p) ? rows * operand_row_bytes(cols, p) : 0;
  std::byte* data = operand_scratch_.reserve(bytes);
  for (size_t i = 0; i < 2; ++i) {
    if (!wanted(kPrecisions[i])) continue;
    operands_[i] = {rows, cols, kPrecisions[i], data};
    data += rows * operand_row_bytes(cols, kPrecisions[i]);
    pool_.run(static_cast<int>(rows), [&](int r) noexcept {
      load_operand(x + r * cols, r, operands_[i]);
    });
  }
  for (const LinearJob& job : jobs) {
    CHECK(job.weight.cols == cols);
    add_tasks(job.weight, operands_[job.precision == Precision::kFast ? 0 : 1], job.y,
              job.weight.rows);
  }
  run_tasks();
}

void HostBackend::feed_forward(const float* x, int64_t hidden,
                               std::span<const FeedForwardJob> jobs, float* y) {
  int64_t pairs = 0, widest = 0;
  for (const FeedForwardJob& job : jobs) {
    pairs += static_cast<int64_t>(job.rows.size());
    widest = std::max(widest, job.network.gate.rows);
  }
  if (pairs == 0) return;
  const size_t input_bytes = operand_row_bytes(hidden, Precision::kFast);
  const size_t hidden_bytes = operand_row_bytes(widest, Precision::kFast);
  std::byte* input = operand_scratch_.reserve(pairs * input_bytes);
  float* gate_up = reinterpret_cast<float*>(
      hidden_scratch_.reserve(static_cast<size_t>(pairs * 2 * widest) * sizeof(float)));
  std::byte* hidden_input = hidden_operand_scratch_.reserve(pairs * hidden_bytes);

  // Per job: its gathered input rows, then its hidden rows, as operands.
  operands_.assign(2 * jobs.size(), {});
  std::vector<std::pair<int, int>> job_row(pairs);  // pair -> job, row of the job
  int64_t first = 0;
  for (size_t j = 0; j < jobs.size(); ++j) {
    const int64_t n = static_cast<int64_t>(jobs[j].rows.size());
    operands_[2 * j] = {n, hidden, Precision::kFast, input + first * input_bytes};
    operands_[2 * j + 1] = {n, jobs[j].network.gate.rows, Precision::kFast,
                            hidden_input + first * hidden_bytes};
    for (int64_t i = 0; i < n; ++i) job_row[first + i] = {static_cast<int>(j), static_cast<int>(i)};
    first += n;
  }
  pool_.run(static_cast<int>(pairs), [&](int p) noexcept {
    const auto [j, i] = job_row[p];
    load_operand(x + jobs[j].rows[i] * hidden, i, operands_[2 * j]);
  });

  float* const up_base = gate_up + pairs * widest;
  first = 0;
  for (size_t j = 0; j < jobs.size(); ++j) {
    const FeedForward& network = jobs[j].network;
    CHECK(network.gate.cols == hidden && network.down.rows == hidden);
    add_tasks(network.gate, operands_[2 * j], gate_up + first * widest, widest);
    add_tasks(network.up, operands_[2 * j], up_base + first * widest, widest);
    first += operands_[2 * j].rows;
  }
  run_tasks();

  pool_.run(static_cast<int>(pairs), [&](int p) noexcept {
    const auto [j, i] = job_row[p];
    float* gate = gate_up + p * widest;
    host::silu_multiply(gate, up_base + p * widest, operands_[2 * j + 1].cols);
    load_operand(gate, i, operands_[2 * j + 1]);
  });

  for (size_t j = 0; j < jobs.size(); ++j) {
    add_tasks(jobs[j].network.down, operands_[2 * j + 1], y + jobs[j].target_begin * hidden,
              hidden);
  }
  run_tasks();
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
      host::convolve_row(shape, weights.conv, input.qkv, segment, r, mixed);
    });
    host::save_conv_state(shape, input.qkv, segment);
  }
  pool_.run(static_cast<int>(segments.size()) * shape.value_heads, [&](int task) noexcept {
    host::delta_rule_head(shape, weights, input, mixed, segments[task / shape.value_heads],
                          task % shape.value_heads, out);
  });
}

void HostBackend::attention(const AttentionShape& shape, const AttentionWeights& weights,
                            const AttentionInput& input,
                            std::span<const AttentionSegment> segments, float* out) {
  for (const AttentionSegment& segment : segments) {
    pool_.run(static_cast<int>(segment.rows), [&](int r) noexcept {
      host::rotate_and_store_row(shape, weights, input, segment, r);
    });
    pool_.run(static_cast<int>(segment.rows) * shape.kv_heads, [&](int task) noexcept {
      host::attend(shape, input, segment, task / shape.kv_heads, task % shape.kv_heads, out);
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
    host::combine_row(routes + int64_t{r} * k, k, y, hidden, out + r * hidden);
    if (shared != nullptr) {
      host::add_scaled(out + r * hidden, shared + r * hidden, host::sigmoid(shared_gate[r]), hidden);
    }
  });
}

}  // namespace flashmoe::kernels

#include "kernels/host_backend.h"

#include <algorithm>
#include <array>

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

// A permuted matrix is its order, int32 [cols], then the layout of the derived class.
size_t order_bytes(const quant::Format& format, int64_t cols) {
  return format.permuted ? (static_cast<size_t>(cols) * sizeof(int32_t) + 63) / 64 * 64 : 0;
}

const int32_t* order_of(const Matrix& matrix) {
  return reinterpret_cast<const int32_t*>(matrix.data);
}

Matrix without_order(Matrix matrix) {
  matrix.data += order_bytes(matrix.format, matrix.cols);
  return matrix;
}

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

void HostBackend::run_products() {
  // A task streams one piece of memory, and each piece costs a start; but threads must come out
  // even.
  constexpr int64_t kTasksPerThread = 8, kLeastWork = 64 * 1024, kMostWork = 1024 * 1024;
  const auto row_work = [](const Product& p) {  // weights, counted again for every 8 input rows
    return p.weight.cols * std::max<int64_t>(1, p.operand->rows / 8);
  };
  int64_t work = 0;
  for (const Product& p : products_) work += p.weight.rows * row_work(p);
  const int64_t task_work =
      std::clamp(work / (pool_.threads() * kTasksPerThread), kLeastWork, kMostWork);
  tasks_.clear();
  for (const Product& p : products_) {
    const int64_t blocks = (p.weight.rows + kRowBlock - 1) / kRowBlock;
    const int64_t step = std::max<int64_t>(1, task_work / (kRowBlock * row_work(p)));
    for (int64_t begin = 0; begin < blocks; begin += step) {
      tasks_.push_back({&p, begin, std::min(blocks, begin + step)});
    }
  }
  pool_.run(static_cast<int>(tasks_.size()), [&](int i) noexcept {
    const Task& t = tasks_[i];
    const Product& p = *t.product;
    multiply(p.weight, *p.operand, t.block_begin, t.block_end, p.y, p.y_stride);
  });
  products_.clear();
}

void HostBackend::load_input(const Matrix& weight, const float* x, int64_t index,
                             const Operand& operand) const noexcept {
  if (!weight.format.permuted) return load_operand(x, index, operand);
  thread_local std::vector<float> sorted;
  sorted.resize(static_cast<size_t>(weight.cols));
  for (int64_t i = 0; i < weight.cols; ++i) sorted[i] = x[order_of(weight)[i]];
  load_operand(sorted.data(), index, operand);
}

void HostBackend::linear(const float* x, int64_t rows, int64_t cols,
                         std::span<const LinearJob> jobs) {
  // The input is loaded once for each precision that some job needs, and again for each weight that
  // wants it in an order of its own.
  const auto precision_of = [&](const LinearJob& job) {
    return operand_precision(job.weight.format, job.precision);
  };
  constexpr Precision kPrecisions[] = {Precision::kFast, Precision::kFloat};
  std::byte* const data = operand_scratch_.reserve(
      static_cast<size_t>(rows) *
      (operand_row_bytes(cols, Precision::kFast) + operand_row_bytes(cols, Precision::kFloat)));
  operands_.assign(2, {});
  std::byte* place = data;
  for (size_t i = 0; i < 2; ++i) {
    operands_[i] = {rows, cols, kPrecisions[i], place};
    const Matrix* weight = nullptr;
    for (const LinearJob& job : jobs) {
      CHECK(job.weight.cols == cols);
      if (job.weight.format.permuted || precision_of(job) != kPrecisions[i]) continue;
      weight = &job.weight;
      products_.push_back({job.weight, &operands_[i], job.y, job.weight.rows});
    }
    if (weight == nullptr) continue;
    place += static_cast<size_t>(rows) * operand_row_bytes(cols, kPrecisions[i]);
    pool_.run(static_cast<int>(rows),
              [&](int r) noexcept { load_input(*weight, x + r * cols, r, operands_[i]); });
  }
  run_products();
  for (const LinearJob& job : jobs) {
    if (!job.weight.format.permuted) continue;
    operands_[0] = {rows, cols, precision_of(job), data};
    pool_.run(static_cast<int>(rows),
              [&](int r) noexcept { load_input(job.weight, x + r * cols, r, operands_[0]); });
    products_.push_back({without_order(job.weight), &operands_[0], job.y, job.weight.rows});
    run_products();
  }
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

  const auto load = [&](Matrix FeedForward::*weight) {
    pool_.run(static_cast<int>(pairs), [&](int p) noexcept {
      const auto [job, i] = pair_jobs_[p];
      load_input(jobs[job].network.*weight, x + jobs[job].rows[i] * hidden, i, operands_[2 * job]);
    });
  };
  const auto add_products = [&](Matrix FeedForward::*weight, float* result) {
    for (size_t j = 0; j < jobs.size(); ++j) {
      products_.push_back(
          {without_order(jobs[j].network.*weight), &operands_[2 * j], result, widest});
      result += operands_[2 * j].rows * widest;
    }
  };
  // Gate and up share the loaded rows, unless one of them wants an order of its own.
  const bool permuted = std::any_of(jobs.begin(), jobs.end(), [](const FeedForwardJob& job) {
    return job.network.gate.format.permuted || job.network.up.format.permuted;
  });
  load(&FeedForward::gate);
  add_products(&FeedForward::gate, gate);
  if (permuted) {
    run_products();
    load(&FeedForward::up);
  }
  add_products(&FeedForward::up, up);
  run_products();
  pool_.run(static_cast<int>(pairs), [&](int p) noexcept {
    const auto [job, i] = pair_jobs_[p];
    const Operand& hidden_rows = operands_[2 * job + 1];
    ops_.silu_multiply(gate + p * widest, up + p * widest, hidden_rows.cols);
    if (float* inner = jobs[job].inner) {
      std::copy_n(gate + p * widest, hidden_rows.cols, inner + i * hidden_rows.cols);
    }
    load_input(jobs[job].network.down, gate + p * widest, i, hidden_rows);
  });
  for (size_t j = 0; j < jobs.size(); ++j) {
    products_.push_back({without_order(jobs[j].network.down), &operands_[2 * j + 1],
                         y + jobs[j].target_begin * hidden, hidden});
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

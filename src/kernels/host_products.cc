// Products with weight matrices, and the feed-forward networks made of them: each a parallel region
// of stages (host/staged_tasks.h), so that threads meet once, at its end.
#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/host/input_order.h"
#include "kernels/host_backend.h"

namespace flashmoe::kernels {

using host::order_of;
using host::without_order;

// A task streams one piece of memory, and each piece costs a start; but threads must come out even,
// so the last tasks of a region become smaller and smaller.
void HostBackend::begin_region(int64_t work) {
  constexpr int64_t kTasksPerThread = 8, kMostWork = 1024 * 1024;
  tasks_.clear();
  stages_.clear();
  work_left_ = work;
  task_work_ = std::clamp(work / (pool_.threads() * kTasksPerThread), kLeastWork, kMostWork);
}

int64_t HostBackend::work_of_row(const Operand& operand) {
  return operand.cols * std::max<int64_t>(1, operand.rows / 8);
}

void HostBackend::add_block_tasks(int stage, int64_t rows, int64_t row_work) {
  const int64_t blocks = (rows + kRowBlock - 1) / kRowBlock, block_work = kRowBlock * row_work;
  for (int64_t begin = 0; begin < blocks;) {
    const int64_t even = work_left_ / (2 * pool_.threads());
    const int64_t work = std::max(kLeastWork, std::min(task_work_, even));
    const int64_t end = std::min(blocks, begin + std::max<int64_t>(1, work / block_work));
    tasks_.add(stage, begin, end);
    work_left_ -= (end - begin) * block_work;
    begin = end;
  }
}

int HostBackend::add(const Load& load, int after) {
  const int stage = tasks_.add_stage(after);
  stages_.emplace_back(load);
  const int64_t step = rows_per_task(load.operand->cols);
  for (int64_t begin = 0; begin < load.operand->rows; begin += step) {
    tasks_.add(stage, begin, std::min(load.operand->rows, begin + step));
  }
  return stage;
}

int HostBackend::add(const Product& product, int after) {
  const int stage = tasks_.add_stage(after);
  stages_.emplace_back(product);
  add_block_tasks(stage, product.weight.rows, work_of_row(*product.operand));
  return stage;
}

int HostBackend::add(const GatedProduct& product, int after) {
  const int stage = tasks_.add_stage(after);
  stages_.emplace_back(product);
  add_block_tasks(stage, product.gate.weight.rows, 2 * work_of_row(*product.gate.operand));
  return stage;
}

void HostBackend::run_region() {
  tasks_.run(pool_, [&](int stage, int64_t begin, int64_t end) noexcept {
    std::visit([&](const auto& s) { run_stage(s, begin, end); }, stages_[stage]);
  });
}

void HostBackend::run_stage(const Load& load, int64_t begin, int64_t end) const noexcept {
  const Operand& operand = *load.operand;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = load.rows == nullptr ? i : load.rows[i];
    load_input(*load.weight, load.x + row * load.x_stride, i, operand);
  }
}

void HostBackend::run_stage(const Product& p, int64_t begin, int64_t end) const noexcept {
  multiply(p.weight, *p.operand, begin, end, p.y, p.y_stride);
}

void HostBackend::run_stage(const GatedProduct& p, int64_t begin, int64_t end) const noexcept {
  run_stage(p.gate, begin, end);
  run_stage(p.up, begin, end);
  const int64_t first = begin * kRowBlock;
  const int64_t n = std::min(p.gate.weight.rows, end * kRowBlock) - first;
  for (int64_t i = 0; i < p.gate.operand->rows; ++i) {
    ops_.silu_multiply(p.gate.y + i * p.gate.y_stride + first, p.up.y + i * p.up.y_stride + first,
                       n);
  }
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
  const auto precision_of = [&](const LinearJob& job) {
    return operand_precision(job.weight.format, job.precision);
  };
  // The input is loaded once for each precision that some job needs, and again for each weight that
  // wants it in an order of its own.
  constexpr Precision kPrecisions[] = {Precision::kFast, Precision::kFloat};
  std::byte* place = operand_scratch_.reserve(
      static_cast<size_t>(rows) *
      (operand_row_bytes(cols, Precision::kFast) + operand_row_bytes(cols, Precision::kFloat)));
  std::byte* const first_place = place;
  operands_.clear();
  int64_t work = 0;
  for (Precision precision : kPrecisions) {
    operands_.push_back({rows, cols, precision, place});
    place += static_cast<size_t>(rows) * operand_row_bytes(cols, precision);
  }
  for (const LinearJob& job : jobs) {
    CHECK(job.weight.cols == cols);
    if (!job.weight.format.permuted) work += job.weight.rows * work_of_row(operands_[0]);
  }
  begin_region(work);
  for (const Operand& operand : operands_) {
    int loaded = host::StagedTasks::kNothing;
    for (const LinearJob& job : jobs) {
      if (job.weight.format.permuted || precision_of(job) != operand.precision) continue;
      if (loaded == host::StagedTasks::kNothing)
        loaded = add(Load{&job.weight, x, cols, nullptr, &operand});
      add(Product{job.weight, &operand, job.y, job.weight.rows}, loaded);
    }
  }
  run_region();
  for (const LinearJob& job : jobs) {
    if (!job.weight.format.permuted) continue;
    operands_[0] = {rows, cols, precision_of(job), first_place};
    const Product product{without_order(job.weight), &operands_[0], job.y, job.weight.rows};
    begin_region(job.weight.rows * work_of_row(*product.operand));
    add(product, add(Load{&job.weight, x, cols, nullptr, &operands_[0]}));
    run_region();
  }
}

// Gate and up take their input in the same form.
Precision HostBackend::input_precision(const FeedForward& network) const {
  const bool fast = operand_precision(network.gate.format, Precision::kFast) == Precision::kFast &&
                    operand_precision(network.up.format, Precision::kFast) == Precision::kFast;
  return fast ? Precision::kFast : Precision::kFloat;
}

// Fills networks_: places for each job's operands and for what its gate and up make.
void HostBackend::plan_networks(int64_t hidden, std::span<const FeedForwardJob> jobs) {
  const auto bytes_of = [&](const Operand& operand) {
    return static_cast<size_t>(operand.rows) * operand_row_bytes(operand.cols, operand.precision);
  };
  networks_.clear();
  size_t operand_bytes = 0, floats = 0;
  for (const FeedForwardJob& job : jobs) {
    const FeedForward& network = job.network;
    CHECK(network.gate.cols == hidden && network.down.rows == hidden);
    const int64_t n = static_cast<int64_t>(job.rows.size()), inner = network.down.cols;
    const Operand input{n, hidden, input_precision(network), nullptr};
    const Precision down = operand_precision(network.down.format, Precision::kFast);
    networks_.push_back({input, input, {n, inner, down, nullptr}, nullptr, nullptr});
    operand_bytes += 2 * bytes_of(input) + bytes_of(networks_.back().down);
    floats += static_cast<size_t>(2 * n * inner);
  }
  std::byte* place = operand_scratch_.reserve(operand_bytes);
  float* next = reinterpret_cast<float*>(hidden_scratch_.reserve(floats * sizeof(float)));
  const auto take = [&](Operand* operand) {
    operand->data = place;
    place += bytes_of(*operand);
  };
  for (size_t j = 0; j < jobs.size(); ++j) {
    const FeedForward& network = jobs[j].network;
    Network& plan = networks_[j];
    // A single token's jobs have the same row each, and need it once.
    plan.own_order = network.gate.format.permuted || network.up.format.permuted;
    plan.shares_input = j > 0 && !plan.own_order && !networks_[j - 1].own_order &&
                        plan.gate.precision == networks_[j - 1].gate.precision &&
                        std::ranges::equal(jobs[j].rows, jobs[j - 1].rows);
    if (plan.shares_input) {
      plan.gate.data = networks_[j - 1].gate.data;
    } else {
      take(&plan.gate);
    }
    plan.up.data = plan.gate.data;
    if (plan.own_order) take(&plan.up);
    take(&plan.down);
    plan.gate_y = jobs[j].inner != nullptr ? jobs[j].inner : next;
    next += plan.down.rows * plan.down.cols;
    plan.up_y = next;
    next += plan.down.rows * plan.down.cols;
  }
}

void HostBackend::feed_forward(const float* x, int64_t hidden,
                               std::span<const FeedForwardJob> jobs) {
  plan_networks(hidden, jobs);
  int64_t work = 0;
  for (const Network& plan : networks_) {
    work += 2 * plan.down.cols * work_of_row(plan.gate) + hidden * work_of_row(plan.down);
  }
  begin_region(work);
  // What loads the next job's rows comes before a job's products, so that they need not wait.
  const auto load_input = [&](size_t j) {
    Network& plan = networks_[j];
    if (plan.shares_input) {
      plan.loaded = networks_[j - 1].loaded;
      return;
    }
    const int32_t* rows = jobs[j].rows.data();
    plan.loaded = add(Load{&jobs[j].network.gate, x, hidden, rows, &plan.gate});
    if (!plan.own_order) return;
    plan.loaded = add(Load{&jobs[j].network.up, x, hidden, rows, &plan.up}, plan.loaded);
  };
  const auto load_inner = [&](size_t j) {
    Network& plan = networks_[j];
    plan.inner_loaded = add(
        Load{&jobs[j].network.down, plan.gate_y, plan.down.cols, nullptr, &plan.down}, plan.gated);
  };
  load_input(0);
  for (size_t j = 0; j < jobs.size(); ++j) {
    if (j + 1 < jobs.size()) load_input(j + 1);
    const FeedForward& network = jobs[j].network;
    Network& plan = networks_[j];
    const int64_t inner = plan.down.cols;
    plan.gated = add(GatedProduct{{without_order(network.gate), &plan.gate, plan.gate_y, inner},
                                  {without_order(network.up), &plan.up, plan.up_y, inner}},
                     plan.loaded);
  }
  load_inner(0);
  for (size_t j = 0; j < jobs.size(); ++j) {
    if (j + 1 < jobs.size()) load_inner(j + 1);
    const Network& plan = networks_[j];
    add(Product{without_order(jobs[j].network.down), &plan.down, jobs[j].y, hidden},
        plan.inner_loaded);
  }
  run_region();
}

}  // namespace flashmoe::kernels

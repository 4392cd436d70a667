// Products with weight matrices, and the feed-forward networks made of them: each a parallel region
// of stages (host/staged_tasks.h), so that threads meet once, at its end. Threads read weights in
// runs as long as possible.
#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/host/input_order.h"
#include "kernels/host_backend.h"

namespace flashmoe::kernels {

using host::order_of;
using host::without_order;

namespace {
constexpr int kNothing = host::StagedTasks::kNothing, kEveryone = host::StagedTasks::kEveryone;
}  // namespace

// A task is a quarter of a thread's run, so that others can help at its end, but neither so small
// that beginning it counts nor longer than need be.
int64_t HostBackend::blocks_per_task(const Product& product, int64_t blocks, int owner) const {
  constexpr int64_t kLeast = 64 * 1024, kMost = 1024 * 1024;  // weights, again for every 8 rows
  const int64_t block_work =
      kRowBlock * product.weight.cols * std::max<int64_t>(1, product.operand->rows / 8);
  const int64_t run = blocks * block_work / (owner == kEveryone ? pool_.threads() : 1);
  return std::max<int64_t>(1, std::clamp(run / 4, kLeast, kMost) / block_work);
}

int64_t HostBackend::blocks_of(const Product& product) {
  return (product.weight.rows + kRowBlock - 1) / kRowBlock;
}

void HostBackend::clear_region() {
  tasks_.clear();
  stages_.clear();
}

int HostBackend::add(const Load& load, int after, int owner) {
  stages_.emplace_back(load);
  return tasks_.add(load.operand->rows, rows_per_task(load.operand->cols), after, owner);
}

int HostBackend::add(const Product& product, int after, int owner) {
  stages_.emplace_back(product);
  const int64_t blocks = blocks_of(product);
  return tasks_.add(blocks, blocks_per_task(product, blocks, owner), after, owner);
}

int HostBackend::add(const TwoProducts& two, int after, int owner) {
  stages_.emplace_back(two);
  const int64_t blocks = blocks_of(two.first) + blocks_of(two.second);
  return tasks_.add(blocks, blocks_per_task(two.first, blocks, owner), after, owner);
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
    if (load.gate != nullptr) {
      ops_.silu_multiply(load.gate + i * operand.cols, load.x + i * operand.cols, operand.cols);
      load_input(*load.weight, load.gate + i * operand.cols, i, operand);
    } else {
      load_input(*load.weight, load.x + row * operand.cols, i, operand);
    }
  }
}

void HostBackend::run_stage(const Product& p, int64_t begin, int64_t end) const noexcept {
  multiply(p.weight, *p.operand, begin, end, p.y, p.weight.rows);
}

void HostBackend::run_stage(const TwoProducts& two, int64_t begin, int64_t end) const noexcept {
  const int64_t first = blocks_of(two.first);
  if (begin < first) run_stage(two.first, begin, std::min(end, first));
  if (end > first) run_stage(two.second, std::max(begin, first) - first, end - first);
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
  const auto form_of = [&](const LinearJob& job) {
    return operand_form(job.weight.format, job.precision);
  };
  // The input is loaded once in each form that some job needs, and again for each weight that wants
  // it in an order of its own.
  operands_.clear();
  size_t bytes = 0;
  for (Form form : {Form::kRounded, Form::kSplit, Form::kFloat}) {
    if (std::ranges::find(jobs, form, form_of) == jobs.end()) continue;
    operands_.push_back({rows, cols, form, nullptr});
    bytes += operand_bytes(operands_.back());
  }
  std::byte* const first_place = operand_scratch_.reserve(bytes);
  std::byte* place = first_place;
  for (Operand& operand : operands_) {
    operand.data = place;
    place += operand_bytes(operand);
  }
  clear_region();
  for (const Operand& operand : operands_) {
    int loaded = kNothing;
    for (const LinearJob& job : jobs) {
      CHECK(job.weight.cols == cols);
      if (job.weight.format.permuted || form_of(job) != operand.form) continue;
      if (loaded == kNothing) loaded = add(Load{&job.weight, x, &operand});
      add(Product{job.weight, &operand, job.y}, loaded);
    }
  }
  run_region();
  for (const LinearJob& job : jobs) {
    if (!job.weight.format.permuted) continue;
    operands_[0] = {rows, cols, form_of(job), first_place};
    clear_region();
    const int loaded = add(Load{&job.weight, x, &operands_[0]});
    add(Product{without_order(job.weight), &operands_[0], job.y}, loaded);
    run_region();
  }
}

// Fills networks_: places for each job's operands and for what its gate and up make.
void HostBackend::plan_networks(int64_t hidden, std::span<const FeedForwardJob> jobs) {
  networks_.clear();
  size_t bytes = 0, floats = 0;
  for (const FeedForwardJob& job : jobs) {
    const FeedForward& network = job.network;
    CHECK(network.gate.cols == hidden && network.down.rows == hidden);
    const int64_t n = static_cast<int64_t>(job.rows.size()), inner = network.down.cols;
    const auto operand_of = [&](const Matrix& weight) {
      return Operand{n, weight.cols, operand_form(weight.format, Precision::kFast), nullptr};
    };
    const Network& plan =
        networks_.emplace_back(Network{operand_of(network.gate), operand_of(network.up),
                                       operand_of(network.down), nullptr, nullptr});
    bytes += operand_bytes(plan.gate) + operand_bytes(plan.up) + operand_bytes(plan.down);
    floats += static_cast<size_t>(2 * n * inner);
  }
  std::byte* place = operand_scratch_.reserve(bytes);
  float* next = reinterpret_cast<float*>(hidden_scratch_.reserve(floats * sizeof(float)));
  const auto take = [&](Operand* operand) {
    operand->data = place;
    place += operand_bytes(*operand);
  };
  for (size_t j = 0; j < jobs.size(); ++j) {
    const FeedForward& network = jobs[j].network;
    Network& plan = networks_[j];
    // A single token's jobs have the same row each, and need it once.
    plan.own_inputs = network.gate.format.permuted || network.up.format.permuted ||
                      plan.gate.form != plan.up.form;
    plan.shares_input = j > 0 && !plan.own_inputs && !networks_[j - 1].own_inputs &&
                        plan.gate.form == networks_[j - 1].gate.form &&
                        std::ranges::equal(jobs[j].rows, jobs[j - 1].rows);
    if (plan.shares_input) {
      plan.gate.data = networks_[j - 1].gate.data;
    } else {
      take(&plan.gate);
    }
    plan.up.data = plan.gate.data;
    if (plan.own_inputs) take(&plan.up);
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
  clear_region();
  const auto add_gate_and_up = [&](size_t j, int owner) {
    const FeedForward& network = jobs[j].network;
    Network& plan = networks_[j];
    if (plan.shares_input) {
      plan.loaded = networks_[j - 1].loaded;
    } else {
      const int32_t* rows = jobs[j].rows.data();
      plan.loaded = add(Load{&network.gate, x, &plan.gate, rows}, kNothing, owner);
      if (plan.own_inputs) {
        plan.loaded = add(Load{&network.up, x, &plan.up, rows}, plan.loaded, owner);
      }
    }
    plan.multiplied = add(TwoProducts{{without_order(network.gate), &plan.gate, plan.gate_y},
                                      {without_order(network.up), &plan.up, plan.up_y}},
                          plan.loaded, owner);
  };
  const auto add_down = [&](size_t j, int owner) {
    const FeedForward& network = jobs[j].network;
    Network& plan = networks_[j];
    const int loaded = add(Load{&network.down, plan.up_y, &plan.down, nullptr, plan.gate_y},
                           plan.multiplied, owner);
    add(Product{without_order(network.down), &plan.down, jobs[j].y}, loaded, owner);
  };
  // An expert's matrices lie one after the other, so each thread computes experts of its own; what
  // cannot be dealt out evenly is done by all, its second half last, when the first is done.
  const size_t threads = static_cast<size_t>(pool_.threads()), split = jobs.size() % threads;
  for (size_t j = 0; j < split; ++j) add_gate_and_up(j, kEveryone);
  for (size_t j = split; j < jobs.size(); ++j) {
    const int owner = static_cast<int>((j - split) % threads);
    add_gate_and_up(j, owner);
    add_down(j, owner);
  }
  for (size_t j = 0; j < split; ++j) add_down(j, kEveryone);
  run_region();
}

}  // namespace flashmoe::kernels

// What all backends in host memory share: the loops over threads, and every operation that is not
// a product with a weight matrix. Products are left to the derived class (ref/, cpu/).
#pragma once

#include <algorithm>
#include <variant>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "kernels/backend.h"
#include "kernels/host/row_ops.h"
#include "kernels/host/staged_tasks.h"

namespace flashmoe::kernels {

class HostBackend : public Backend {
 public:
  // `ops` is one compilation of the row operations; all give the same bits.
  HostBackend(ThreadPool& pool, const host::RowOps& ops) : pool_(pool), ops_(ops) {}

  size_t prepared_bytes(const quant::Format& format, int64_t rows, int64_t cols) const override;
  void prepare(const FileMatrix& source, int64_t row_begin, int64_t rows,
               std::byte* destination) override;
  size_t scratch_bytes(int64_t rows, int64_t width, int64_t intermediate,
                       const AttentionShape& attention, int64_t positions) const override;
  void embed(const Matrix& table, std::span<const int32_t> ids, float* out) override;
  void rms_norm(const float* x, const float* weight, int64_t rows, int64_t width, float eps,
                float* out) override;
  void add(float* x, const float* y, int64_t n) override;
  void linear(const float* x, int64_t rows, int64_t cols, std::span<const LinearJob> jobs) override;
  void feed_forward(const float* x, int64_t hidden, std::span<const FeedForwardJob> jobs) override;
  void delta_net(const DeltaNetShape& shape, const DeltaNetWeights& weights,
                 const DeltaNetInput& input, std::span<const DeltaNetSegment> segments,
                 float* out) override;
  void attention(const AttentionShape& shape, const AttentionWeights& weights,
                 const AttentionInput& input, std::span<const AttentionSegment> segments,
                 float* out) override;
  void route(const float* logits, int64_t rows, int experts, int k, bool normalize,
             Route* routes) override;
  void combine(const Route* routes, const float* y, int64_t rows, int k, int64_t hidden,
               const float* shared, const float* shared_gate, float* out) override;

 protected:
  // What a derived class may make of input rows: int8 rows, split rows (quant/arithmetic.h),
  // floats.
  enum class Form { kRounded, kSplit, kFloat };

  // Input rows of a product, in scratch memory.
  struct Operand {
    int64_t rows = 0;
    int64_t cols = 0;
    Form form = Form::kFloat;
    std::byte* data = nullptr;  // operand_row_bytes(cols, form) for each row
  };

  // As Backend's, of a matrix that is stored row by row and whose inputs stand in their order.
  virtual size_t layout_bytes(const quant::Format& format, int64_t rows, int64_t cols) const = 0;
  virtual void lay_out(const FileMatrix& source, int64_t row_begin, int64_t rows,
                       std::byte* destination) const noexcept = 0;

  // The form in which a product with this weight takes its input when `asked` is wanted.
  virtual Form operand_form(const quant::Format& weight, Precision asked) const = 0;
  virtual size_t operand_row_bytes(int64_t cols, Form form) const = 0;
  // Fills row `index` of the operand from x [cols].
  virtual void load_operand(const float* x, int64_t index,
                            const Operand& operand) const noexcept = 0;
  // y[i * y_stride + r] = operand row i · weight row r, for r in the given blocks of kRowBlock
  // rows.
  virtual void multiply(const Matrix& weight, const Operand& operand, int64_t block_begin,
                        int64_t block_end, float* y, int64_t y_stride) const noexcept = 0;
  virtual void decode_row(const Matrix& weight, int64_t row, float* out) const noexcept = 0;

  ThreadPool& pool() { return pool_; }
  const host::RowOps& ops() const { return ops_; }

 private:
  // Stages of a parallel region of products (host_products.cc).
  struct Load {            // operand row i = row i of x, or row rows[i] if they are given
    const Matrix* weight;  // whose order of inputs it takes
    const float* x;
    const Operand* operand;
    const int32_t* rows = nullptr;
    float* gate = nullptr;  // if given, row i is gate = silu(gate) * x
  };
  struct Product {  // y [operand->rows, weight.rows] = operand · weightᵀ
    Matrix weight;
    const Operand* operand;
    float* y;
  };
  struct TwoProducts {  // the blocks of the one, then those of the other
    Product first, second;
  };
  using Stage = std::variant<Load, Product, TwoProducts>;

  // Rows of cheap operations are handed to threads in runs of about this many floats.
  static constexpr int64_t kFloatsPerTask = 16384;
  static int64_t rows_per_task(int64_t width) {
    return std::max<int64_t>(1, kFloatsPerTask / width);
  }
  static int64_t blocks_of(const Product& product);
  int64_t blocks_per_task(const Product& product, int64_t blocks, int owner) const;
  // Puts a region of products together. Returns the stage's number in it.
  void clear_region();
  int add(const Load& load, int after = host::StagedTasks::kNothing,
          int owner = host::StagedTasks::kEveryone);
  int add(const Product& product, int after, int owner = host::StagedTasks::kEveryone);
  int add(const TwoProducts& two, int after, int owner);
  void run_region();

  void run_stage(const Load& load, int64_t begin, int64_t end) const noexcept;
  void run_stage(const Product& product, int64_t begin, int64_t end) const noexcept;
  void run_stage(const TwoProducts& two, int64_t begin, int64_t end) const noexcept;
  struct Network {  // one job of a feed_forward call
    Operand gate, up, down;
    float *gate_y, *up_y;            // [rows, down.cols]
    bool own_inputs = false;         // gate's and up's, in different orders or forms
    bool shares_input = false;       // with the job before
    int loaded = 0, multiplied = 0;  // stages: its input; gate and up
  };
  void copy(const std::byte* from, size_t bytes, std::byte* to);  // by all threads
  size_t operand_bytes(const Operand& operand) const {
    return static_cast<size_t>(operand.rows) * operand_row_bytes(operand.cols, operand.form);
  }
  void plan_networks(int64_t hidden, std::span<const FeedForwardJob> jobs);
  void attend_by_blocks(const AttentionShape& shape, const AttentionInput& input,
                        const AttentionSegment& segment, float* out);
  // Loads x [weight.cols] as the weight takes its inputs.
  void load_input(const Matrix& weight, const float* x, int64_t index,
                  const Operand& operand) const noexcept;

  // A growing scratch area whose memory is kept from call to call.
  class Scratch {
   public:
    std::byte* reserve(size_t bytes);

   private:
    AlignedBuffer buffer_;
  };

  ThreadPool& pool_;
  const host::RowOps& ops_;
  host::StagedTasks tasks_;
  std::vector<Stage> stages_;
  std::vector<Operand> operands_;
  std::vector<Network> networks_;
  Scratch operand_scratch_, hidden_scratch_, conv_scratch_, partial_scratch_;
};

}  // namespace flashmoe::kernels

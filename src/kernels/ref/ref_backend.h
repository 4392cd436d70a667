// The oracle: weights stay in their file's format, are decoded to float32 row by row as they are
// used, and multiplied in plain float32 loops. Slow and exact. What is no product comes from the
// processor's row operations, whose bits are the same for every instruction set.
#pragma once

#include "kernels/cpu/row_ops.h"
#include "kernels/host_backend.h"

namespace flashmoe::kernels {

class RefBackend : public HostBackend {
 public:
  explicit RefBackend(ThreadPool& pool) : HostBackend(pool, cpu::row_ops(cpu::chosen_isa())) {}

  const char* name() const override { return "ref"; }
  bool supports(const quant::Format&) const override { return true; }

 protected:
  size_t layout_bytes(const quant::Format& format, int64_t rows, int64_t cols) const override;
  void lay_out(const FileMatrix& source, int64_t row_begin, int64_t rows,
               std::byte* destination) const noexcept override;
  Form operand_form(const quant::Format&, Precision) const override { return Form::kFloat; }
  size_t operand_row_bytes(int64_t cols, Form form) const override;
  void load_operand(const float* x, int64_t index, const Operand& operand) const noexcept override;
  void multiply(const Matrix& weight, const Operand& operand, int64_t block_begin,
                int64_t block_end, float* y, int64_t y_stride) const noexcept override;
  void decode_row(const Matrix& weight, int64_t row, float* out) const noexcept override;
};

}  // namespace flashmoe::kernels

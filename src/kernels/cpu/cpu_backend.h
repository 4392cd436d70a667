// The fast backend of the CPU: weights interleaved by rows (layout.h), products by the
// kernels of the machine's instruction set (linear.h). Where weights take int8, activations are
// rounded to it, or split into three of it if float is asked for or `exact` is set. Every
// instruction set gives the same bits.
#pragma once

#include "kernels/cpu/linear.h"
#include "kernels/cpu/row_ops.h"
#include "kernels/host_backend.h"

namespace flashmoe::kernels {

class CpuBackend : public HostBackend {
 public:
  explicit CpuBackend(ThreadPool& pool, bool exact = false)
      : HostBackend(pool, cpu::row_ops(cpu::chosen_isa())),
        linear_(cpu::linear_kernels()),
        exact_(exact) {}

  const char* name() const override { return "cpu"; }
  bool supports(const quant::Format& format) const override;
  bool is_laid_out(const quant::Storage& storage) const override;

 protected:
  size_t layout_bytes(const quant::Format& format, int64_t rows, int64_t cols) const override;
  void lay_out(const FileMatrix& source, int64_t row_begin, int64_t rows,
               std::byte* destination) const noexcept override;
  Form operand_form(const quant::Format& weight, Precision asked) const override;
  size_t operand_row_bytes(int64_t cols, Form form) const override;
  void load_operand(const float* x, int64_t index, const Operand& operand) const noexcept override;
  void multiply(const Matrix& weight, const Operand& operand, int64_t block_begin,
                int64_t block_end, float* y, int64_t y_stride) const noexcept override;
  void decode_row(const Matrix& weight, int64_t row, float* out) const noexcept override;

 private:
  const cpu::LinearKernels& linear_;
  const bool exact_;
};

}  // namespace flashmoe::kernels

#include "kernels/cpu/cpu_backend.h"

#include "kernels/cpu/layout.h"
#include "quant/arithmetic.h"

namespace flashmoe::kernels {

bool CpuBackend::supports(const quant::Format& format) const {
  return quant::can_interleave(format);
}

size_t CpuBackend::layout_bytes(const quant::Format& format, int64_t rows, int64_t cols) const {
  return quant::interleaved_bytes(format, rows, cols);
}

bool CpuBackend::is_laid_out(const quant::Storage& storage) const {
  return storage.kind == quant::Storage::Kind::kInterleaved;
}

void CpuBackend::lay_out(const FileMatrix& source, int64_t row_begin, int64_t rows,
                         std::byte* destination) const noexcept {
  cpu::prepare(source, row_begin, rows, destination);
}

Precision CpuBackend::operand_precision(const quant::Format& weight, Precision asked) const {
  return cpu::takes_int8(weight) && !exact_ ? asked : Precision::kFloat;
}

size_t CpuBackend::operand_row_bytes(int64_t cols, Precision precision) const {
  return precision == Precision::kFast ? quant::int8_row_bytes(cols) : quant::float_row_bytes(cols);
}

void CpuBackend::load_operand(const float* x, int64_t index,
                              const Operand& operand) const noexcept {
  std::byte* row = operand.data +
                   static_cast<size_t>(index) * operand_row_bytes(operand.cols, operand.precision);
  if (operand.precision == Precision::kFast) {
    quant::round_row(x, operand.cols, row);
  } else {
    quant::load_row(x, operand.cols, row);
  }
}

void CpuBackend::multiply(const Matrix& weight, const Operand& operand, int64_t block_begin,
                          int64_t block_end, float* y, int64_t y_stride) const noexcept {
  const cpu::LinearFunction linear =
      operand.precision == Precision::kFast ? linear_.linear_int8 : linear_.linear_float;
  linear(weight, operand.data, operand.rows, block_begin, block_end, y, y_stride);
}

void CpuBackend::decode_row(const Matrix& weight, int64_t row, float* out) const noexcept {
  cpu::decode_prepared_row(weight, row, out);
}

}  // namespace flashmoe::kernels

#include "kernels/cpu/cpu_backend.h"

#include <cstring>

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

HostBackend::Form CpuBackend::operand_form(const quant::Format& weight, Precision asked) const {
  if (!cpu::takes_int8(weight)) return Form::kFloat;
  return exact_ || asked == Precision::kFloat ? Form::kSplit : Form::kRounded;
}

size_t CpuBackend::operand_row_bytes(int64_t cols, Form form) const {
  switch (form) {
    case Form::kRounded:
      return quant::int8_row_bytes(cols);
    case Form::kSplit:
      return quant::split_row_bytes(cols);
    case Form::kFloat:
      break;
  }
  return cpu::float_row_bytes(cols);
}

void CpuBackend::load_operand(const float* x, int64_t index,
                              const Operand& operand) const noexcept {
  std::byte* row =
      operand.data + static_cast<size_t>(index) * operand_row_bytes(operand.cols, operand.form);
  switch (operand.form) {
    case Form::kRounded:
      return quant::round_row(x, operand.cols, row);
    case Form::kSplit:
      return quant::split_row(x, operand.cols, row);
    case Form::kFloat:
      std::memcpy(row, x, static_cast<size_t>(operand.cols) * sizeof(float));
  }
}

void CpuBackend::multiply(const Matrix& weight, const Operand& operand, int64_t block_begin,
                          int64_t block_end, float* y, int64_t y_stride) const noexcept {
  if (operand.form == Form::kSplit) {
    cpu::linear_split(linear_, weight, operand.data, operand.rows, block_begin, block_end, y,
                      y_stride);
  } else {
    linear_.linear(weight, operand.data, operand.rows, block_begin, block_end, y, y_stride);
  }
}

void CpuBackend::decode_row(const Matrix& weight, int64_t row, float* out) const noexcept {
  cpu::decode_prepared_row(weight, row, out);
}

}  // namespace flashmoe::kernels

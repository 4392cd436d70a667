#include "kernels/ref/ref_backend.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "quant/decode.h"

namespace flashmoe::kernels {

namespace {

// The parts of a matrix lie one behind the other: all codes, all scales, all biases.
struct Parts {
  size_t code_bytes, scale_bytes, bias_bytes;  // of one row
  size_t scales_at, biases_at;                 // offsets

  Parts(const quant::Format& format, int64_t rows, int64_t cols)
      : code_bytes(format.code_bytes(cols)),
        scale_bytes(format.scale_bytes(cols)),
        bias_bytes(format.bias_bytes(cols)),
        scales_at(code_bytes * static_cast<size_t>(rows)),
        biases_at(scales_at + scale_bytes * static_cast<size_t>(rows)) {}
};

}  // namespace

size_t RefBackend::layout_bytes(const quant::Format& format, int64_t rows, int64_t cols) const {
  return format.row_bytes(cols) * static_cast<size_t>(rows);
}

void RefBackend::lay_out(const FileMatrix& source, int64_t row_begin, int64_t rows,
                         std::byte* destination) const noexcept {
  const Parts parts(source.format, rows, source.cols);
  const size_t first = static_cast<size_t>(row_begin), n = static_cast<size_t>(source.rows);
  const auto copy = [&](const std::byte* from, size_t at, size_t row_bytes) {
    if (row_bytes > 0) std::memcpy(destination + at + first * row_bytes, from, n * row_bytes);
  };
  copy(source.codes, 0, parts.code_bytes);
  copy(source.scales, parts.scales_at, parts.scale_bytes);
  copy(source.biases, parts.biases_at, parts.bias_bytes);
}

size_t RefBackend::operand_row_bytes(int64_t cols, Form) const {
  return static_cast<size_t>(cols) * sizeof(float);
}

void RefBackend::load_operand(const float* x, int64_t index,
                              const Operand& operand) const noexcept {
  const size_t bytes = operand_row_bytes(operand.cols, operand.form);
  std::memcpy(operand.data + static_cast<size_t>(index) * bytes, x, bytes);
}

void RefBackend::multiply(const Matrix& weight, const Operand& operand, int64_t block_begin,
                          int64_t block_end, float* y, int64_t y_stride) const noexcept {
  thread_local std::vector<float> decoded;
  decoded.resize(static_cast<size_t>(weight.cols));
  const float* x = reinterpret_cast<const float*>(operand.data);
  for (int64_t r = block_begin * kRowBlock; r < std::min(weight.rows, block_end * kRowBlock); ++r) {
    decode_row(weight, r, decoded.data());
    for (int64_t i = 0; i < operand.rows; ++i) {
      y[i * y_stride + r] = ops().dot(decoded.data(), x + i * operand.cols, weight.cols);
    }
  }
}

void RefBackend::decode_row(const Matrix& weight, int64_t row, float* out) const noexcept {
  const Parts parts(weight.format, weight.rows, weight.cols);
  const size_t r = static_cast<size_t>(row);
  quant::decode_row(weight.format, weight.cols, weight.data + r * parts.code_bytes,
                    weight.data + parts.scales_at + r * parts.scale_bytes,
                    weight.data + parts.biases_at + r * parts.bias_bytes, out);
}

}  // namespace flashmoe::kernels

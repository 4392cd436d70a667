// What the numbers of a weight matrix are stored as. Owns the list of formats and their sizes;
// decoding lies in quant/decode.h, files in format/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace flashmoe::quant {

// Element types of plain tensors, named as in safetensors headers.
enum class DType {
  kBool,
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kU64,
  kI64,
  kF16,
  kBf16,
  kF32,
  kF64,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kOther,  // any other type: its tensors are listed but cannot be used
};

size_t dtype_bytes(DType type);      // of one element; 0 for kOther
const char* dtype_name(DType type);  // "BF16"

enum class Encoding {
  kPlain,   // one DType value per weight: F32, F16 or BF16
  kAffine,  // MLX affine: w = code * scale + bias, one scale and bias per group of a row
};

// The format of one matrix. A row of `cols` weights is stored in up to three parts (codes, scales,
// biases), each row-major; all rows are alike.
struct Format {
  Encoding encoding = Encoding::kPlain;
  DType dtype = DType::kF32;  // kPlain: the element; kAffine: type of scales and biases
  int bits = 0;               // kAffine: 2, 3, 4, 5, 6 or 8
  int group = 0;              // kAffine: 32, 64 or 128 inputs share a scale and a bias

  bool operator==(const Format&) const = default;

  // Bytes of one row's part. `cols` must be a multiple of `group`, and cols * bits of 32.
  size_t code_bytes(int64_t cols) const;
  size_t scale_bytes(int64_t cols) const;  // the biases take as many again; 0 for kPlain
  size_t row_bytes(int64_t cols) const { return code_bytes(cols) + 2 * scale_bytes(cols); }
  double bits_per_weight() const;
  std::string name() const;  // "bf16", "affine 4-bit g64"
};

}  // namespace flashmoe::quant

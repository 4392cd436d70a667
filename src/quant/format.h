// What the numbers of a weight matrix are stored as. Owns the list of formats and their sizes;
// decoding lies in quant/decode.h, files in format/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

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

size_t dtype_bytes(DType type);            // of one element; 0 for kOther
const char* dtype_name(DType type);        // "BF16"
DType dtype_named(std::string_view name);  // kOther for a name that is none of these

enum class Encoding {
  kPlain,   // one DType value per weight: F32, F16 or BF16
  kAffine,  // w = code * scale + bias, one scale and bias per group of a row
  kFloats,  // w = code * scale, the code a float of 4 (e2m1) or 8 bits (e4m3), a scale per group
  kBlocks,  // GGUF: a row is a run of blocks that hold their own codes and scales
};

// GGUF's types of blocks, numbered as in its files. What their bytes mean: quant/blocks.h.
enum class BlockType : uint8_t {
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ2_XXS = 16,
  kIQ2_XS = 17,
  kIQ3_XXS = 18,
  kIQ1_S = 19,
  kIQ4_NL = 20,
  kIQ3_S = 21,
  kIQ2_S = 22,
  kIQ4_XS = 23,
  kIQ1_M = 29,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
  kNVFP4 = 40,
};

struct BlockInfo {
  BlockType type;
  const char* name;  // "Q4_K"
  int inputs;        // of a block
  int bytes;         // of a block
};

const BlockInfo& block_info(BlockType type);
std::optional<BlockType> block_type(uint32_t gguf_id);  // nullopt: no type of blocks

// The format of one matrix. A row of `cols` weights is stored in up to three parts (codes, scales,
// biases), each row-major; all rows are alike. Plain formats and blocks have the first part only.
struct Format {
  Encoding encoding = Encoding::kPlain;
  DType dtype = DType::kF32;  // kPlain: the element; kAffine, kFloats: scales and biases
  int bits = 0;               // kAffine: 2, 3, 4, 5, 6 or 8; kFloats: 4 or 8
  int group = 0;  // inputs that share a scale. kAffine: 32, 64 or 128; kFloats: 16, 32 or 128
  BlockType block = {};  // kBlocks: the type of block; the other fields are unused
  // kAffine: what stands for the bias is a zero point: w = (code - zero) * scale, bias =
  // -(zero * scale).
  bool zero_points = false;
  // The inputs stand in another order than the activations', so that each group's are neighbours.
  // The order is a part of the matrix (kernels/backend.h).
  bool permuted = false;

  static Format of_blocks(BlockType type) { return {Encoding::kBlocks, DType::kF32, 0, 0, type}; }
  bool operator==(const Format&) const = default;

  // Bytes of one row's part. kAffine: `cols` is a multiple of `group`, and cols * bits of 32.
  // kFloats: the last group may be shorter. kBlocks: `cols` is a multiple of a block's inputs.
  size_t code_bytes(int64_t cols) const;
  size_t scale_bytes(int64_t cols) const;  // 0 but for kAffine and kFloats
  size_t bias_bytes(int64_t cols) const;   // 0 but for kAffine
  size_t row_bytes(int64_t cols) const {
    return code_bytes(cols) + scale_bytes(cols) + bias_bytes(cols);
  }
  double bits_per_weight() const;
  std::string name() const;  // "bf16", "affine 4-bit g64", "mxfp4", "Q4_K"
};

}  // namespace flashmoe::quant

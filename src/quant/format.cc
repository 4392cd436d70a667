#include "quant/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/check.h"

namespace flashmoe::quant {

namespace {

struct DTypeRow {
  DType type;
  const char* name;
  size_t bytes;
};

constexpr DTypeRow kDTypes[] = {
    {DType::kBool, "BOOL", 1},      {DType::kU8, "U8", 1},          {DType::kI8, "I8", 1},
    {DType::kU16, "U16", 2},        {DType::kI16, "I16", 2},        {DType::kU32, "U32", 4},
    {DType::kI32, "I32", 4},        {DType::kU64, "U64", 8},        {DType::kI64, "I64", 8},
    {DType::kF16, "F16", 2},        {DType::kBf16, "BF16", 2},      {DType::kF32, "F32", 4},
    {DType::kF64, "F64", 8},        {DType::kF8E4M3, "F8_E4M3", 1}, {DType::kF8E5M2, "F8_E5M2", 1},
    {DType::kF8E8M0, "F8_E8M0", 1}, {DType::kOther, "other", 0},
};

constexpr BlockInfo kBlockTypes[] = {
    {BlockType::kQ4_0, "Q4_0", 32, 18},        {BlockType::kQ4_1, "Q4_1", 32, 20},
    {BlockType::kQ5_0, "Q5_0", 32, 22},        {BlockType::kQ5_1, "Q5_1", 32, 24},
    {BlockType::kQ8_0, "Q8_0", 32, 34},        {BlockType::kQ2_K, "Q2_K", 256, 84},
    {BlockType::kQ3_K, "Q3_K", 256, 110},      {BlockType::kQ4_K, "Q4_K", 256, 144},
    {BlockType::kQ5_K, "Q5_K", 256, 176},      {BlockType::kQ6_K, "Q6_K", 256, 210},
    {BlockType::kIQ2_XXS, "IQ2_XXS", 256, 66}, {BlockType::kIQ2_XS, "IQ2_XS", 256, 74},
    {BlockType::kIQ3_XXS, "IQ3_XXS", 256, 98}, {BlockType::kIQ1_S, "IQ1_S", 256, 50},
    {BlockType::kIQ4_NL, "IQ4_NL", 32, 18},    {BlockType::kIQ3_S, "IQ3_S", 256, 110},
    {BlockType::kIQ2_S, "IQ2_S", 256, 82},     {BlockType::kIQ4_XS, "IQ4_XS", 256, 136},
    {BlockType::kIQ1_M, "IQ1_M", 256, 56},     {BlockType::kTQ1_0, "TQ1_0", 256, 54},
    {BlockType::kTQ2_0, "TQ2_0", 256, 66},     {BlockType::kMXFP4, "MXFP4", 32, 17},
    {BlockType::kNVFP4, "NVFP4", 64, 36},
};

const DTypeRow& row_of(DType type) {
  const DTypeRow& row = kDTypes[static_cast<size_t>(type)];
  CHECK(row.type == type);
  return row;
}

}  // namespace

size_t dtype_bytes(DType type) { return row_of(type).bytes; }
const char* dtype_name(DType type) { return row_of(type).name; }

const BlockInfo& block_info(BlockType type) {
  const auto* info = std::find_if(std::begin(kBlockTypes), std::end(kBlockTypes),
                                  [type](const BlockInfo& i) { return i.type == type; });
  CHECK(info != std::end(kBlockTypes));
  return *info;
}

std::optional<BlockType> block_type(uint32_t gguf_id) {
  for (const BlockInfo& info : kBlockTypes) {
    if (static_cast<uint32_t>(info.type) == gguf_id) return info.type;
  }
  return std::nullopt;
}

DType dtype_named(std::string_view name) {
  for (const DTypeRow& row : kDTypes) {
    if (name == row.name) return row.type;
  }
  return DType::kOther;
}

size_t Format::code_bytes(int64_t cols) const {
  const auto n = static_cast<size_t>(cols);
  switch (encoding) {
    case Encoding::kPlain:
      return n * dtype_bytes(dtype);
    case Encoding::kAffine:
    case Encoding::kFloats:
      return n * static_cast<size_t>(bits) / 8;
    case Encoding::kBlocks:
      break;
  }
  const BlockInfo& info = block_info(block);
  return n / static_cast<size_t>(info.inputs) * static_cast<size_t>(info.bytes);
}

size_t Format::scale_bytes(int64_t cols) const {
  if (encoding != Encoding::kAffine && encoding != Encoding::kFloats) return 0;
  return static_cast<size_t>((cols + group - 1) / group) * dtype_bytes(dtype);
}

size_t Format::bias_bytes(int64_t cols) const {
  return encoding == Encoding::kAffine ? scale_bytes(cols) : 0;
}

double Format::bits_per_weight() const {
  const double value_bits = 8.0 * static_cast<double>(dtype_bytes(dtype));
  switch (encoding) {
    case Encoding::kPlain:
      return value_bits;
    case Encoding::kAffine:
      return bits + 2 * value_bits / group;
    case Encoding::kFloats:
      return bits + value_bits / group;
    case Encoding::kBlocks:
      break;
  }
  const BlockInfo& info = block_info(block);
  return 8.0 * info.bytes / info.inputs;
}

std::string Format::name() const {
  if (encoding == Encoding::kBlocks) return block_info(block).name;
  if (encoding == Encoding::kAffine) {
    return fmt::format("affine {}-bit g{}{}{}", bits, group, zero_points ? " zero points" : "",
                       permuted ? " permuted" : "");
  }
  if (encoding == Encoding::kFloats) {
    if (dtype == DType::kF8E8M0 && group == 32) return bits == 4 ? "mxfp4" : "mxfp8";
    if (dtype == DType::kF8E4M3 && group == 16 && bits == 4) return "nvfp4";
    return fmt::format("{} g{}", bits == 4 ? "fp4 e2m1" : "fp8 e4m3", group);
  }
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBf16:
      return "bf16";
    default:
      return dtype_name(dtype);
  }
}

}  // namespace flashmoe::quant

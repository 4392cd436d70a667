#include "quant/format.h"

#include <fmt/format.h>

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

const DTypeRow& row_of(DType type) {
  const DTypeRow& row = kDTypes[static_cast<size_t>(type)];
  CHECK(row.type == type);
  return row;
}

}  // namespace

size_t dtype_bytes(DType type) { return row_of(type).bytes; }
const char* dtype_name(DType type) { return row_of(type).name; }

size_t Format::code_bytes(int64_t cols) const {
  if (encoding == Encoding::kPlain) return static_cast<size_t>(cols) * dtype_bytes(dtype);
  return static_cast<size_t>(cols) * static_cast<size_t>(bits) / 8;
}

size_t Format::scale_bytes(int64_t cols) const {
  if (encoding == Encoding::kPlain) return 0;
  return static_cast<size_t>(cols / group) * dtype_bytes(dtype);
}

double Format::bits_per_weight() const {
  if (encoding == Encoding::kPlain) return 8.0 * static_cast<double>(dtype_bytes(dtype));
  return bits + 16.0 * static_cast<double>(dtype_bytes(dtype)) / group;
}

std::string Format::name() const {
  if (encoding == Encoding::kAffine) return fmt::format("affine {}-bit g{}", bits, group);
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

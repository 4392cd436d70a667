// AWQ in its gemm layout: X.qweight, X.qzeros and X.scales, 4 bits.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "format/method_settings.h"

namespace flashmoe::format {

using quant::DType;

MatrixInfo resolve_awq(const MatrixTensors& tensors, const TensorInfo& codes) {
  const MethodSettings settings(tensors, codes);
  std::string version = settings.text("version", "gemm");
  std::transform(version.begin(), version.end(), version.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (version != "gemm") settings.refuse("version");
  for (const char* key : {"bits", "w_bit"}) {
    if (settings.number(key, 4) != 4) settings.refuse(key);
  }
  if (!settings.boolean("zero_point", true)) settings.refuse("zero_point");

  tensors.check_plane(codes);
  const TensorInfo* scales = tensors.part(".scales");
  if (scales == nullptr) {
    tensors.fail(ErrorCode::kCorrupt, codes,
                 fmt::format("there is no {}.scales beside it", tensors.prefix()));
  }
  tensors.check_plane(*scales);
  const int64_t cols = codes.shape[0], words = codes.shape[1], rows = words * 8;
  const int64_t groups = scales->shape[0], group = divided_up(cols, groups);
  quant::Storage storage;
  storage.kind = quant::Storage::Kind::kAwq;
  storage.group = group;
  MatrixInfo matrix = tensors.start(
      rows, cols, zero_point_format(tensors, codes, scales->dtype, 4, group, cols), storage);
  matrix.add_part(&MatrixInfo::codes, tensors.part(".qweight", {DType::kI32}, codes.shape));
  matrix.add_part(&MatrixInfo::scales,
                  tensors.part(".scales", {DType::kF16, DType::kBf16, DType::kF32},
                               {divided_up(cols, group), rows}));
  matrix.add_part(&MatrixInfo::biases, tensors.part(".qzeros", {DType::kI32}, {groups, words}));
  return matrix;
}

}  // namespace flashmoe::format

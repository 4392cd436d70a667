// GPTQ, as AutoGPTQ and GPTQModel write it: X.qweight, X.qzeros, X.scales and X.g_idx.
#include <fmt/format.h>

#include <algorithm>

#include "format/method_settings.h"

namespace flashmoe::format {

namespace {

using quant::DType;

struct Settings {
  bool act_order = false;
  bool zeros_less_one = true;  // the older format, and the one that most files have
};

Settings read_settings(const MatrixTensors& tensors, const TensorInfo& codes) {
  const MethodSettings settings(tensors, codes);
  Settings result;
  result.act_order = settings.boolean("desc_act", false);
  for (const char* key : {"checkpoint_format", "format"}) {
    const std::string format = settings.text(key, "");
    if (format.empty()) continue;
    if (format != "gptq" && format != "gptq_v2") settings.refuse(key);
    result.zeros_less_one = format == "gptq";
    break;
  }
  if (settings.text("pack_dtype", "int32") != "int32") settings.refuse("pack_dtype");
  // Bits and groups of modules that have their own show in the shapes; the order does not.
  if (const nlohmann::json* dynamic = settings.find("dynamic")) {
    for (const auto& [module, own] : dynamic->items()) {
      if (own.is_object() && (own.contains("desc_act") || own.contains("pack_dtype"))) {
        settings.refuse("dynamic");
      }
    }
  }
  return result;
}

}  // namespace

MatrixInfo resolve_gptq(const MatrixTensors& tensors, const TensorInfo& codes) {
  const Settings settings = read_settings(tensors, codes);
  tensors.check_plane(codes);
  const TensorInfo* scales = tensors.part(".scales");
  if (scales == nullptr) {
    tensors.fail(ErrorCode::kCorrupt, codes,
                 fmt::format("there is no {}.scales beside it", tensors.prefix()));
  }
  tensors.check_plane(*scales);
  const int64_t rows = codes.shape[1], bit_rows = codes.shape[0] * 32;
  const int64_t asked_bits = std::max<int64_t>(1, MethodSettings(tensors, codes).number("bits", 4));
  const int64_t cols = tensors.expected_cols().value_or(bit_rows / asked_bits);
  const int64_t bits = cols == 0 ? 0 : bit_rows / cols;
  if (cols == 0 || bits * cols != bit_rows || cols % 32 != 0 || rows * bits % 32 != 0 ||
      (bits != 2 && bits != 3 && bits != 4 && bits != 8)) {
    tensors.refuse(codes, fmt::format("{} with {} inputs", shape_text(codes), cols));
  }
  const int64_t groups = scales->shape[0];
  int64_t group = MethodSettings(tensors, codes).number("group_size", -1);
  if (group <= 0 || divided_up(cols, group) != groups) group = divided_up(cols, groups);

  quant::Storage storage;
  storage.kind = quant::Storage::Kind::kGptq;
  storage.group = group;
  storage.zeros_less_one = settings.zeros_less_one;
  quant::Format format =
      zero_point_format(tensors, codes, scales->dtype, static_cast<int>(bits), group, cols);
  format.permuted = settings.act_order && groups > 1;
  MatrixInfo matrix = tensors.start(rows, cols, format, storage);
  matrix.add_part(&MatrixInfo::codes, tensors.part(".qweight", {DType::kI32}, codes.shape));
  matrix.add_part(&MatrixInfo::scales,
                  tensors.part(".scales", {DType::kF16, DType::kBf16, DType::kF32},
                               {divided_up(cols, group), rows}));
  matrix.add_part(&MatrixInfo::biases,
                  tensors.part(".qzeros", {DType::kI32}, {groups, rows * bits / 32}));
  if (format.permuted) {
    matrix.add_part(&MatrixInfo::group_of_input, tensors.part(".g_idx", {DType::kI32}, {cols}));
  } else if (const TensorInfo* order = tensors.part(".g_idx")) {
    matrix.tensors.push_back(order->name);  // inputs in their order
  }
  return matrix;
}

}  // namespace flashmoe::format

// fp8 (e4m3) weights with scales of their own: X.weight_scale_inv, a factor for each block of
// 128 x 128 (as Qwen and DeepSeek publish), or compressed-tensors' float-quantized X.weight_scale,
// for the whole tensor, each row, each group of a row, or each block.
#include <fmt/format.h>

#include "format/json_file.h"
#include "format/method_settings.h"

namespace flashmoe::format {

namespace {

using quant::DType;

constexpr int64_t kBlock = 128;

// The shape of the blocks that share a factor, from the shape of the factors.
void choose_blocks(const MatrixTensors& tensors, const TensorInfo& scales, int64_t rows,
                   int64_t cols, quant::Storage* storage) {
  const std::vector<int64_t>& shape = scales.shape;
  const int64_t count = shape.empty() ? 1 : shape.size() == 1 ? shape[0] : shape[0] * shape[1];
  if (shape.size() <= 2 && count == 1) {
    storage->scale_rows = rows;
    storage->group = cols;
  } else if (shape.size() == 2 && shape[0] == rows && shape[1] >= 1 && cols % shape[1] == 0 &&
             rows > 1) {
    storage->scale_rows = 1;
    storage->group = cols / shape[1];
  } else if (shape.size() == 2 && shape[0] == divided_up(rows, kBlock) &&
             shape[1] == divided_up(cols, kBlock)) {
    storage->scale_rows = kBlock;
    storage->group = kBlock;
  } else {
    tensors.refuse(scales, fmt::format("{} for weights [{}, {}]", shape_text(scales), rows, cols));
  }
}

}  // namespace

MatrixInfo resolve_fp8(const MatrixTensors& tensors, const TensorInfo& weight) {
  const TensorInfo* scales = tensors.part(".weight_scale_inv");
  if (scales == nullptr) scales = tensors.part(".weight_scale");
  if (scales == nullptr) tensors.refuse(weight, "its type F8_E4M3 without scales");
  const MethodSettings settings(tensors, weight);
  settings.refuse_transforms();
  if (const nlohmann::json* block = settings.find("weight_block_size")) {
    if (*block != nlohmann::json{kBlock, kBlock}) settings.refuse("weight_block_size");
  }
  if (!is_float(scales->dtype)) {
    tensors.refuse(*scales, fmt::format("scales of type {}", scales->dtype_name));
  }
  tensors.check_plane(weight);
  const int64_t rows = weight.shape[0], cols = weight.shape[1];
  quant::Storage storage;
  storage.kind = quant::Storage::Kind::kScaled;
  choose_blocks(tensors, *scales, rows, cols, &storage);
  if (storage.group < cols && storage.group % kBlock != 0) {
    tensors.refuse(*scales, fmt::format("a scale for {} of {} inputs", storage.group, cols));
  }
  const quant::Format format{quant::Encoding::kFloats, scales->dtype, 8, static_cast<int>(kBlock)};
  MatrixInfo matrix = tensors.start(rows, cols, format, storage);
  matrix.add_part(&MatrixInfo::codes, weight);
  matrix.add_part(&MatrixInfo::scales, *scales);
  // How activations were to be rounded: here they are not.
  if (const TensorInfo* input = tensors.part(".input_scale")) {
    matrix.tensors.push_back(input->name);
  }
  return matrix;
}

}  // namespace flashmoe::format

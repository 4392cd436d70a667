#include "format/gguf_types.h"

namespace flashmoe::format {

namespace {

using quant::DType;

constexpr uint32_t kMaxId = 63;

struct PlainType {
  uint32_t id;
  DType dtype;
};
constexpr PlainType kPlainTypes[] = {
    {0, DType::kF32},  {1, DType::kF16},  {24, DType::kI8},  {25, DType::kI16},
    {26, DType::kI32}, {27, DType::kI64}, {28, DType::kF64}, {30, DType::kBf16},
};

}  // namespace

std::optional<GgufType> gguf_type(uint32_t id) {
  for (const PlainType& type : kPlainTypes) {
    if (type.id != id) continue;
    return GgufType{quant::dtype_name(type.dtype), 1,
                    static_cast<int>(quant::dtype_bytes(type.dtype)), type.dtype};
  }
  const std::optional<quant::BlockType> block = quant::block_type(id);
  if (!block) return std::nullopt;
  const quant::BlockInfo& info = quant::block_info(*block);
  return GgufType{info.name, info.inputs, info.bytes, DType::kOther};
}

std::optional<quant::Format> gguf_format(std::string_view type_name) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBf16}) {
    if (type_name == quant::dtype_name(type)) return quant::Format{quant::Encoding::kPlain, type};
  }
  for (uint32_t id = 0; id <= kMaxId; ++id) {
    const std::optional<quant::BlockType> block = quant::block_type(id);
    if (block && type_name == quant::block_info(*block).name) {
      return quant::Format::of_blocks(*block);
    }
  }
  return std::nullopt;
}

}  // namespace flashmoe::format

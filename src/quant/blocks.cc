#include "quant/blocks.h"

#include "base/check.h"
#include "quant/block_unpackers.h"

namespace flashmoe::quant {

namespace {

struct TypeRow {
  BlockType type;
  BlockShape shape;
  void (*unpack)(const uint8_t* bytes, Block* block);
};

constexpr TypeRow kTypes[] = {
    {BlockType::kQ4_0, {32, 32, 32, false}, unpack_q4_0},
    {BlockType::kQ4_1, {32, 32, 32, true}, unpack_q4_1},
    {BlockType::kQ5_0, {32, 32, 32, false}, unpack_q5_0},
    {BlockType::kQ5_1, {32, 32, 32, true}, unpack_q5_1},
    {BlockType::kQ8_0, {32, 32, 32, false}, unpack_q8_0},
    {BlockType::kQ2_K, {256, 256, 16, true}, unpack_q2_k},
    {BlockType::kQ3_K, {256, 256, 16, false}, unpack_q3_k},
    {BlockType::kQ4_K, {256, 256, 32, true}, unpack_q4_k},
    {BlockType::kQ5_K, {256, 256, 32, true}, unpack_q5_k},
    {BlockType::kQ6_K, {256, 256, 16, false}, unpack_q6_k},
    {BlockType::kIQ2_XXS, {256, 256, 32, false}, unpack_iq2_xxs},
    {BlockType::kIQ2_XS, {256, 256, 16, false}, unpack_iq2_xs},
    {BlockType::kIQ3_XXS, {256, 256, 32, false}, unpack_iq3_xxs},
    {BlockType::kIQ1_S, {256, 256, 32, false}, unpack_iq1_s},
    {BlockType::kIQ4_NL, {32, 32, 32, false}, unpack_iq4_nl},
    {BlockType::kIQ3_S, {256, 256, 32, false}, unpack_iq3_s},
    {BlockType::kIQ2_S, {256, 256, 16, false}, unpack_iq2_s},
    {BlockType::kIQ4_XS, {256, 256, 32, false}, unpack_iq4_xs},
    {BlockType::kIQ1_M, {256, 256, 16, false}, unpack_iq1_m},
    {BlockType::kTQ1_0, {256, 256, 32, false}, unpack_tq1_0},
    {BlockType::kTQ2_0, {256, 256, 32, false}, unpack_tq2_0},
    {BlockType::kMXFP4, {32, 32, 32, false}, unpack_mxfp4},
    {BlockType::kNVFP4, {64, 16, 16, false}, unpack_nvfp4},
};

const TypeRow& row_of(BlockType type) {
  const TypeRow* row = kTypes;
  while (row->type != type) CHECK(++row != std::end(kTypes));
  return *row;
}

}  // namespace

BlockShape block_shape(BlockType type) { return row_of(type).shape; }

void unpack_block(BlockType type, const std::byte* bytes, Block* block) {
  row_of(type).unpack(reinterpret_cast<const uint8_t*>(bytes), block);
}

void decode_block(BlockType type, const std::byte* bytes, float* out) {
  const TypeRow& row = row_of(type);
  const BlockShape& shape = row.shape;
  Block block;
  row.unpack(reinterpret_cast<const uint8_t*>(bytes), &block);
  for (int p = 0; p < shape.pieces(); ++p) {
    const int frame = p * shape.piece / shape.frame;
    const float scale = block.scales[frame] * static_cast<float>(block.sub_scales[p]);
    const int8_t* values = block.values + p * shape.piece;
    float* to = out + p * shape.piece;
    for (int i = 0; i < shape.piece; ++i) to[i] = scale * static_cast<float>(values[i]);
    if (!shape.minima) continue;
    const float bias = block.biases[frame] * static_cast<float>(block.sub_mins[p]);
    for (int i = 0; i < shape.piece; ++i) to[i] += bias;
  }
}

}  // namespace flashmoe::quant

// What a checkpoint becomes in MLX's layout: which tensors, under which names, made of which rows
// of the source, in which format. Owns the names and the choice of formats; reads no weights.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "convert/recipe.h"
#include "format/checkpoint.h"
#include "format/safetensors_writer.h"
#include "model/config.h"
#include "quant/format.h"

namespace flashmoe::convert {

// Consecutive rows of a matrix of the source; of a stack, all its matrices' rows are counted on.
struct SourceRows {
  size_t matrix = 0;  // which of MlxTensor::matrices
  int64_t first = 0;
  int64_t count = 0;
};

// One tensor of the result, or the three of a quantised matrix.
struct MlxTensor {
  enum class Change { kNone, kPlusOne, kLogOfNegative };  // w, 1 + w, log(-w)

  std::string name;            // "model.layers.0.mlp.switch_mlp.up_proj.weight"
  std::vector<int64_t> shape;  // before quantisation, outermost first
  int64_t cols = 0;            // of a row: the inputs of a matrix, the taps of a convolution
  quant::DType dtype = {};     // of a quantised one, that of its scales
  std::vector<format::MatrixInfo> matrices;  // of the source
  std::vector<SourceRows> sources;           // one after the other they are the tensor's rows
  std::vector<int32_t> columns;  // [cols] where in the source's row each input is; empty: in place
  Change change = Change::kNone;
  quant::Format format;    // kPlain of dtype, or kAffine
  bool unchanged = false;  // affine in the source, which is kept

  std::string path() const;  // of MLX's module: the name without ".weight"
  int64_t rows() const;      // of `cols` values
  bool quantised_before() const;
  uint64_t source_bytes() const;
  uint64_t output_bytes() const;
  // As the file has them; quantised: codes, scales, biases.
  std::vector<format::SafetensorsWriter::Tensor> stored() const;
};

struct MlxPlan {
  std::vector<MlxTensor> tensors;   // in the order of the layers
  std::vector<std::string> unused;  // tensors of the source that do not go into the result
};

// Finds every tensor that the model needs, as running it would, in whatever convention and format
// the source has. What is neither quantised nor plain in the source is BF16, also in the scales;
// scales of affine formats keep their type. Throws Error naming the tensor when one is missing, has
// the wrong shape or is unknown.
MlxPlan plan_mlx(const format::Checkpoint& source, const model::ModelConfig& config,
                 const Recipe& recipe);

// Where the delta net's value head `head` of transformers' order is among those of the checkpoint.
int64_t stored_value_head(const model::ModelConfig& config, int64_t head);

}  // namespace flashmoe::convert

// What a checkpoint becomes in MLX's layout: which tensors, under which names, made of which bytes
// of the source, in which format. Owns the names and the choice of formats; reads no weights.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "convert/recipe.h"
#include "format/checkpoint.h"
#include "format/safetensors_writer.h"
#include "model/config.h"
#include "quant/format.h"

namespace flashmoe::convert {

// One tensor of the result, or the three of a quantised matrix.
struct MlxTensor {
  std::string name;                     // "model.layers.0.mlp.switch_mlp.up_proj.weight"
  std::vector<int64_t> shape;           // before quantisation, outermost first
  quant::DType dtype;                   // in the source; of a quantised one, that of its scales
  std::vector<format::Extent> sources;  // all alike; one after the other they are the tensor
  quant::Format source_format;          // kPlain of dtype, or kAffine: then there is one source
  format::Extent source_scales, source_biases;  // of an affine one
  quant::Format format;                         // kPlain: as in the source
  bool add_one = false;                         // a norm's w becomes 1 + w

  std::string path() const;  // of MLX's module: the name without ".weight"
  int64_t rows() const;      // all dimensions but the last multiplied
  int64_t cols() const { return shape.empty() ? 1 : shape.back(); }
  uint64_t source_bytes() const;
  uint64_t output_bytes() const;
  // As the file has them; quantised: codes, scales, biases.
  std::vector<format::SafetensorsWriter::Tensor> stored() const;
};

// In the order of the layers. `source` holds every tensor of the model, in the shapes that `config`
// calls for and in F32, F16, BF16 or MLX's affine format; `unused` are its tensors that do not go
// into the result. Throws Error kUnsupported for other formats.
std::vector<MlxTensor> mlx_tensors(const format::Checkpoint& source,
                                   const model::ModelConfig& config,
                                   const std::set<std::string>& unused, const Recipe& recipe);

}  // namespace flashmoe::convert

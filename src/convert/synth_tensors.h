// The tensors of a text model as Hugging Face publishes it, and how the weights of each are
// spread. Owns the names and the scale of the weights; makes no numbers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "convert/synth_values.h"
#include "model/config.h"
#include "quant/format.h"

namespace flashmoe::convert {

struct SynthTensor {
  std::string name;
  quant::DType dtype = quant::DType::kBf16;
  std::vector<int64_t> shape;
  Distribution values;

  uint64_t bytes() const;
};

// In the order of the layers. `multimodal`: the text model is a part of a larger one.
//
// Weights keep the size of what passes through them: 1 / sqrt(inputs), norms about neutral. What
// all `whole_layers` layers of the model add to the residual stream is, together, about as large
// as the embedding; logits spread by about 3. `config` may have fewer layers: the first of them.
std::vector<SynthTensor> published_tensors(const model::ModelConfig& config, bool multimodal,
                                           int whole_layers);

}  // namespace flashmoe::convert

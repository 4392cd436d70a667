// Small random models as people publish them, with what MLX would hold for each of their tensors.
// Owns the names of all three families in each layout, written down apart from src/convert.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "model/config.h"
#include "quant/format.h"

namespace flashmoe::convert {

enum class Layout {
  kSplit,    // Hugging Face, one tensor for each expert's matrix
  kFused,    // Hugging Face, experts in one tensor, gate rows before up rows
  kWrapped,  // the same inside a multimodal model, with vision and prediction tensors beside it
  kMlx,      // MLX, not quantised
};

struct ModelSizes {
  int vocab = 80;
  int hidden = 64;
  int experts = 4;
  int intermediate = 96;  // of an expert
  bool tied = false;
};

class ModelFolder {
 public:
  struct Tensor {
    std::string name;
    quant::DType dtype;
    std::vector<int64_t> shape;
    std::vector<float> values;  // that the type can hold
  };

  ModelFolder(model::Family family, Layout layout, quant::DType dtype, const ModelSizes& sizes);

  // config.json and two weight files.
  void write(const std::string& folder) const;

  nlohmann::json config;
  std::map<std::string, Tensor> source;  // by name
  std::map<std::string, Tensor> mlx;     // what they should become, before quantisation

 private:
  Tensor random(std::vector<int64_t> shape, quant::DType dtype);
  void add(const std::string& hf, const std::string& mlx_name, std::vector<int64_t> shape);
  void add_norm(const std::string& name, int64_t width);
  void add_attention(const std::string& base);
  void add_delta_net(const std::string& base);
  void add_feed_forward(const std::string& base, int64_t intermediate);
  void add_experts(const std::string& base);
  void put(std::map<std::string, Tensor>* tensors, const std::string& name, Tensor tensor);
  std::string hf_name(const std::string& name) const;
  std::string mlx_name(const std::string& name) const;

  const model::Family family_;
  const Layout layout_;
  const quant::DType dtype_;
  const ModelSizes sizes_;
  std::mt19937 random_{20};
};

// Values as they lie in a file.
std::vector<std::byte> to_bytes(quant::DType type, const std::vector<float>& values);

}  // namespace flashmoe::convert

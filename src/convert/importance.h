// How large the inputs of each matrix are, column by column, as measured on a text: what decides
// which errors of a weight matter. Owns the file's format and which matrix has which input;
// measuring lies in measure_importance.h.
//
// The file is safetensors of F32 tensors, three for each input:
//   INPUT.rows     [n]           tokens seen
//   INPUT.squares  [n, cols]     mean of the squared inputs
//   INPUT.moments  [n, cols, cols], if asked for: mean of the products of every two inputs
// n is 1, or the number of experts. Inputs, N a layer:
//   layers.N.mixer       attention's q, k, v; the delta net's projections
//   layers.N.mixer_out   o_proj, out_proj
//   layers.N.routed      router, shared expert's gate and its gate and up; those of a dense layer
//   layers.N.down        down of the shared expert or of a dense layer
//   layers.N.experts     gate and up of each expert, over the tokens routed to it; its moments are
//                        not kept: those of `routed`, scaled to the expert's squares, stand for
//                        them
//   layers.N.experts_down
//   head                 the output matrix (the embedding when tied)
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flashmoe::convert {

// Of one input, or that of each expert.
struct InputMeans {
  int64_t count = 0;  // 1, or experts
  int64_t cols = 0;
  std::vector<float> rows;     // [count] tokens seen
  std::vector<float> squares;  // [count, cols]
  std::vector<float> moments;  // [count, cols, cols], or empty
};

// Of one matrix, to be handed to a quant::RowFitter. Empty spans: nothing is known.
struct InputStatistics {
  std::span<const float> squares;  // [cols]
  std::span<const float> moments;  // [cols, cols]
};

class Importance {
 public:
  Importance() = default;  // nothing is known
  explicit Importance(std::map<std::string, InputMeans> inputs) : inputs_(std::move(inputs)) {}
  // Throws Error kCorrupt naming the tensor.
  static Importance read(const std::string& path);
  // The file appears whole or not at all.
  void write(const std::string& path) const;

  bool empty() const { return inputs_.empty(); }
  const std::map<std::string, InputMeans>& inputs() const { return inputs_; }
  // Of the matrix with MLX's path ("model.layers.3.mlp.switch_mlp.up_proj"), of `expert` if it is a
  // stack. Experts that saw no token get what all tokens of the layer gave, or nothing. Throws
  // Error kUsage when the file is of a model with other shapes.
  InputStatistics find(std::string_view path, int64_t expert, int64_t cols, bool tied) const;

 private:
  std::map<std::string, InputMeans> inputs_;
};

// The input that a matrix has; empty for one that has none (an embedding that is no head).
std::string input_of(std::string_view path, bool tied);

}  // namespace flashmoe::convert

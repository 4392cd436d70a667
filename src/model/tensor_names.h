// What the tensors of a model are called in each convention, and the few things that their numbers
// mean differently. Owns the names; which of them a model has, tensor_finder.h and weights.cc ask.
//
// Names of matrices are without ".weight"; an empty one means that the convention has no such
// tensor.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "model/config.h"

namespace flashmoe::model {

struct FeedForwardNames {
  std::string_view gate, up, down;
};

struct TensorNames {
  std::string_view config;  // what tells the shapes, for messages
  // Where the text model may lie, and the head's names, which have no prefix.
  std::span<const std::string_view> prefixes, heads;

  // Below the prefix.
  std::string_view embedding, final_norm;
  std::string_view layer;  // "{}" is its number; all that follow are below it
  std::string_view mixer_norm, moe_norm;

  struct {
    std::string_view q, k, v, out, q_norm, k_norm;
    std::string_view qkv;  // all rows of q, then k, then v
  } attention;

  // Either qkv and z or qkvz, either b and a or ba: the latter by key head.
  struct {
    std::string_view qkv, z, qkvz, b, a, ba;
    std::string_view conv, decay, dt_bias, norm, out;
  } delta;

  std::string_view router, shared_gate;
  FeedForwardNames dense, shared;

  // Experts lie in stacks [experts, rows, cols] of each matrix; or with gate rows and up rows in
  // one; or each by itself, "{}" is its number.
  FeedForwardNames stacks, singles;
  std::string_view fused_gate_up, fused_down;

  bool norms_hold_one;  // norms whose formula is (1 + w) are stored as 1 + w
  bool decay_is_log;    // the delta net's decay d is stored as log(-d)
};

// Of Hugging Face transformers and mlx-lm, which differ in experts, norms and prefixes only.
extern const TensorNames kTransformersNames;
// Of GGUF.
TensorNames gguf_names(Family family);

// The name with `number` for "{}".
std::string numbered(std::string_view name, int64_t number);

}  // namespace flashmoe::model

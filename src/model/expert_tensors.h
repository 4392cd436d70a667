// Where the experts of a layer lie in a checkpoint. Owns the three ways in which files hold them.
#pragma once

#include "experts/expert_index.h"
#include "model/config.h"
#include "model/tensor_finder.h"

namespace flashmoe::model {

// Throws Error naming the tensor when one is missing or has the wrong shape, and when experts of
// one layer differ in format.
experts::ExpertIndex::Layer resolve_experts(TensorFinder& finder, const ModelConfig& config,
                                            int layer);

}  // namespace flashmoe::model

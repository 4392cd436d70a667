// The dense weights: everything that each token needs, resident in the backend's layout. Owns
// their memory. Experts are not here (experts/).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "experts/expert_index.h"
#include "format/checkpoint.h"
#include "format/content_reader.h"
#include "kernels/backend.h"
#include "model/config.h"

namespace flashmoe::model {

// Told how many of how many bytes of a load are done.
using LoadProgress = std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;

struct AttentionWeights {
  kernels::Matrix q, k, v, out;
  kernels::Matrix gate;  // empty in models without an output gate
  kernels::AttentionWeights norms;
};

struct DeltaNetWeights {
  kernels::Matrix qkv, z, beta, dt, out;
  kernels::DeltaNetWeights net;
};

struct LayerWeights {
  const float* mixer_norm = nullptr;  // [hidden], before attention or delta net
  const float* moe_norm = nullptr;    // [hidden], before the experts
  AttentionWeights attention;         // in attention layers
  DeltaNetWeights delta;              // in delta net layers
  kernels::Matrix router;             // empty in a layer without experts
  kernels::FeedForward shared;        // the shared expert, or the whole network of a dense layer
  kernels::Matrix shared_gate;        // [1, hidden], with a shared expert
};

struct Weights {
  kernels::Matrix embedding, head;  // the same matrix when tied
  const float* final_norm = nullptr;
  std::vector<LayerWeights> layers;
  AlignedBuffer memory;
};

// Finds every tensor that the model needs, checks its shape against the config, and knows how to
// load it. Resolving reads no weights: it tells how much memory they will take.
class WeightsPlan {
 public:
  // Throws Error naming the tensor when one is missing, has the wrong shape or is unknown.
  WeightsPlan(const format::Checkpoint& checkpoint, const ModelConfig& config,
              const kernels::Backend& backend);
  ~WeightsPlan();

  size_t prepared_bytes() const;      // of all dense weights in the backend's layout
  uint64_t file_bytes() const;        // of the same in the files
  uint64_t token_file_bytes() const;  // of those that each token reads (an embedding row, not all)
  size_t staging_bytes() const;       // that `load` needs besides, while it runs

  // Reads and prepares everything; once. files[i] is the checkpoint's file i.
  std::unique_ptr<Weights> load(const format::ContentReader& files, kernels::Backend& backend,
                                const LoadProgress& progress);

  // What a matrix of shapes() is made of in the files.
  const format::MatrixInfo* source(const kernels::Matrix& matrix) const;
  // Formats and shapes of all dense weights; before `load`, and without data.
  const Weights& shapes() const;
  // Tensors of the checkpoint that this program does not use (prediction heads, vision towers).
  const std::vector<std::string>& unused() const { return unused_; }
  const experts::ExpertIndex& expert_index() const { return *expert_index_; }

 private:
  static constexpr size_t kRowStagingBytes = size_t{16} << 20;
  struct Layout;
  std::unique_ptr<Layout> layout_;
  std::unique_ptr<experts::ExpertIndex> expert_index_;
  std::vector<std::string> unused_;
};

}  // namespace flashmoe::model

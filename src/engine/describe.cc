#include "engine/describe.h"

#include <algorithm>
#include <memory>

#include "base/thread_pool.h"
#include "format/checkpoint.h"
#include "kernels/make_backend.h"
#include "model/checkpoint_config.h"
#include "model/state.h"
#include "model/weights.h"

namespace flashmoe::engine {

namespace {

class KindList {
 public:
  void add(const char* kind, const quant::Format& format, int64_t rows, int64_t cols) {
    if (rows == 0) return;
    const std::string name = format.name();
    auto it = std::find_if(kinds_.begin(), kinds_.end(),
                           [&](const TensorKind& k) { return k.kind == kind && k.format == name; });
    if (it == kinds_.end()) it = kinds_.insert(it, {kind, name, 0, 0});
    it->weights += rows * cols;
    it->bytes += static_cast<uint64_t>(rows) * format.row_bytes(cols);
  }
  void add(const char* kind, const kernels::Matrix& m) { add(kind, m.format, m.rows, m.cols); }
  void add(const char* kind, const kernels::FeedForward& network) {
    add(kind, network.gate);
    add(kind, network.up);
    add(kind, network.down);
  }
  std::vector<TensorKind> take() { return std::move(kinds_); }

 private:
  std::vector<TensorKind> kinds_;
};

std::vector<TensorKind> list_kinds(const model::Weights& weights,
                                   const experts::ExpertIndex& index) {
  KindList kinds;
  kinds.add("embedding", weights.embedding);
  for (const model::LayerWeights& l : weights.layers) {
    for (const auto* m :
         {&l.attention.q, &l.attention.gate, &l.attention.k, &l.attention.v, &l.attention.out}) {
      kinds.add("attention", *m);
    }
    for (const auto* m : {&l.delta.qkv, &l.delta.z, &l.delta.beta, &l.delta.dt, &l.delta.out}) {
      kinds.add("delta net", *m);
    }
    kinds.add("router", l.router);
    kinds.add(l.router.rows > 0 ? "shared expert" : "dense feed-forward", l.shared);
    kinds.add("shared expert gate", l.shared_gate);
  }
  for (int i = 0; i < index.layers(); ++i) {
    const experts::ExpertIndex::Layer& l = index.layer(i);
    const int64_t n = static_cast<int64_t>(l.parts.size());
    kinds.add("experts gate and up", l.gate, n * l.intermediate, l.hidden);
    kinds.add("experts gate and up", l.up, n * l.intermediate, l.hidden);
    kinds.add("experts down", l.down, n * l.hidden, l.intermediate);
  }
  kinds.add("head", weights.head);
  return kinds.take();
}

}  // namespace

ModelDescription describe(const std::string& folder) {
  const std::unique_ptr<format::Checkpoint> checkpoint = format::Checkpoint::open(folder);
  ModelDescription d;
  d.path = folder;
  d.config = model::read_model_config(*checkpoint);
  ThreadPool pool(1);
  const std::unique_ptr<kernels::Backend> backend = kernels::make_backend("ref", pool);
  const model::WeightsPlan plan(*checkpoint, d.config, *backend);
  const experts::ExpertIndex& index = plan.expert_index();
  d.kinds = list_kinds(plan.shapes(), index);
  d.dense_bytes = plan.file_bytes();
  d.routed_bytes = index.total_bytes();
  d.token_dense_bytes = plan.token_file_bytes();
  d.token_expert_bytes = index.token_bytes(d.config.moe.experts_per_token);
  const model::StateShape state(d.config, kernels::KvType::kF16);
  d.kv_token_bytes = state.page_bytes() / kernels::kPageTokens;
  d.recurrent_bytes = state.recurrent_bytes();
  d.unused = plan.unused();
  for (const std::string& name : d.unused) d.unused_bytes += checkpoint->find(name)->extent.bytes;
  return d;
}

}  // namespace flashmoe::engine

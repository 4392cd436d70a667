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
  explicit KindList(const model::WeightsPlan& plan) : plan_(plan) {}

  void add(const char* kind, const std::string& format, int64_t weights, uint64_t bytes) {
    if (weights == 0) return;
    auto it = std::find_if(kinds_.begin(), kinds_.end(), [&](const TensorKind& k) {
      return k.kind == kind && k.format == format;
    });
    if (it == kinds_.end()) it = kinds_.insert(it, {kind, format, 0, 0});
    it->weights += weights;
    it->bytes += bytes;
  }
  void add(const char* kind, const kernels::Matrix& m) {
    const format::MatrixInfo* source = plan_.source(m);
    if (source == nullptr) return;
    add(kind, quant::storage_name(source->storage, source->format), m.rows * m.cols,
        source->file_bytes() * static_cast<uint64_t>(m.rows) / static_cast<uint64_t>(source->rows));
  }
  void add(const char* kind, const kernels::FeedForward& network) {
    add(kind, network.gate);
    add(kind, network.up);
    add(kind, network.down);
  }
  // Matrix `m` (gate, up, down) of all experts of a layer.
  void add(const char* kind, const experts::ExpertIndex::Layer& layer, int m) {
    const quant::Format& format = m == 0 ? layer.gate : m == 1 ? layer.up : layer.down;
    const int64_t experts = static_cast<int64_t>(layer.parts.size());
    uint64_t bytes = 0;
    for (const experts::ExpertParts& parts : layer.parts) {
      for (int p = 0; p < experts::kMatrixParts; ++p) {
        bytes += parts[static_cast<size_t>(m * experts::kMatrixParts + p)].bytes;
      }
    }
    add(kind, quant::storage_name(layer.storages[static_cast<size_t>(m)], format),
        experts * layer.intermediate * layer.hidden, bytes);
  }
  std::vector<TensorKind> take() { return std::move(kinds_); }

 private:
  const model::WeightsPlan& plan_;
  std::vector<TensorKind> kinds_;
};

std::vector<TensorKind> list_kinds(const model::WeightsPlan& plan) {
  const model::Weights& weights = plan.shapes();
  const experts::ExpertIndex& index = plan.expert_index();
  KindList kinds(plan);
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
    kinds.add("experts gate and up", l, 0);
    kinds.add("experts gate and up", l, 1);
    kinds.add("experts down", l, 2);
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
  d.kinds = list_kinds(plan);
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

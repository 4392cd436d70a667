#include "engine/model_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/format_units.h"
#include "base/memory_info.h"
#include "engine/engine_parts.h"
#include "limits/limits_cache.h"
#include "quant/interleaved.h"

namespace flashmoe::engine {

namespace {

constexpr int64_t kPromptTokens = 1024, kDecodeContext = 1024;

// The budget at which the cache would hold `bytes`.
uint64_t budget_for(const MemoryPlan& plan, uint64_t bytes) {
  constexpr uint64_t kUnit = uint64_t{1} << 28;  // a round number, never below
  return (plan.budget - plan.cache + bytes + kUnit - 1) / kUnit * kUnit;
}

std::vector<std::string> advise(const ModelPlan& p) {
  std::vector<std::string> advice;
  const MemoryPlan& m = p.memory;
  const uint64_t total = total_memory_bytes();
  if (m.cache < m.all_experts) {
    const uint64_t all = budget_for(m, m.all_experts);
    const Prediction resident = predict_decode(p.work, 1, p.decode_context, p.limits);
    if (all <= total) {
      advice.push_back(fmt::format("with --memory {} all experts fit: {:.1f} tok/s",
                                   format_bytes(all), resident.tok_s));
    } else {
      advice.push_back(fmt::format(
          "all experts would fit in {}; this machine has {}. Fewer bits would help: flashmoe "
          "quantize",
          format_bytes(all), format_bytes(total)));
      const uint64_t more = budget_for(m, m.cache + m.cache / 2);
      if (more < total - total / 10) {
        const double share = std::min(1.0, 1.5 * p.cache_share);
        const double hits = expected_hit_rate(share, p.work.experts, p.work.k, false);
        advice.push_back(
            fmt::format("with --memory {} the cache holds {:.0f} % of the experts: {:.1f} tok/s",
                        format_bytes(more), 100 * share,
                        predict_decode(p.work, hits, p.decode_context, p.limits).tok_s));
      }
    }
  }
  if (p.rearranges && m.cache < m.all_experts) {
    advice.push_back(fmt::format(
        "experts from disk must be rearranged before use, those of a packed store not: flashmoe "
        "pack '{}' OUT",
        p.path));
  }
  if (m.cache < m.token_experts) {
    advice.push_back(fmt::format("below {} hardly any expert is found resident",
                                 format_bytes(budget_for(m, m.token_experts))));
  }
  if (m.state > m.budget / 4 && p.context > kDecodeContext) {
    advice.push_back(
        fmt::format("{} tokens of context take {}; a smaller --context leaves more "
                    "for experts",
                    p.context, format_bytes(m.state)));
  }
  return advice;
}

// Whether `flashmoe pack` would spare the model some work on each expert that is read.
bool rearranges(const Engine::Parts& parts) {
  const experts::ExpertIndex& index = parts.weights_plan->expert_index();
  for (int i = 0; i < index.layers(); ++i) {
    const experts::ExpertIndex::Layer& layer = index.layer(i);
    if (layer.parts.empty()) continue;
    const quant::Format* formats[] = {&layer.gate, &layer.up, &layer.down};
    for (size_t m = 0; m < 3; ++m) {
      if (layer.storages[m].in_rows() && quant::can_restore(*formats[m])) return true;
    }
  }
  return false;
}

}  // namespace

ModelPlan plan_model(const EngineOptions& options, bool remeasure) {
  limits::LimitsCache cache;
  if (remeasure) cache.forget();
  const std::unique_ptr<Engine::Parts> parts = plan_engine(options);
  ModelPlan p;
  p.path = parts->model_path;
  p.memory = parts->plan;
  p.work = parts->work;
  p.threads = parts->pool->threads();
  p.context = parts->context;
  p.chunk = parts->chunk;
  p.io_name = parts->io_name;
  p.io_reason = parts->io_reason;
  p.notes = parts->notes;

  if (cache.notes().empty()) cache.reload();  // with what opening has measured
  const limits::MachineRates machine = cache.machine(p.threads);
  p.limits = {machine.memory_bytes_s, machine.int8_ops_s, 0};
  if (const ExpertPlace place = typical_expert(*parts); place.bytes > 0) {
    const limits::DiskRates rates = cache.disk(place.path, place.bytes);
    p.limits.disk_bytes_s = rate_of(rates, parts->io_mode);
    p.disk_rates = describe_rates(rates);
    p.rearranges = rearranges(*parts);
    p.cache_share = static_cast<double>(p.memory.cache) / static_cast<double>(p.memory.all_experts);
  }
  for (const std::string& note : cache.notes()) {
    if (std::find(p.notes.begin(), p.notes.end(), note) == p.notes.end()) p.notes.push_back(note);
  }

  p.hit_rate = expected_hit_rate(p.cache_share, p.work.experts, p.work.k, false);
  p.uniform_hit_rate = expected_hit_rate(p.cache_share, p.work.experts, p.work.k, true);
  p.decode_context = std::min(kDecodeContext, p.context);
  p.decode = predict_decode(p.work, p.hit_rate, p.decode_context, p.limits);
  p.uniform_decode = predict_decode(p.work, p.uniform_hit_rate, p.decode_context, p.limits);
  p.prompt_tokens = std::min(kPromptTokens, p.context);
  p.prompt = predict_prompt(p.work, p.cache_share, p.prompt_tokens, p.chunk, p.limits);
  p.advice = advise(p);
  return p;
}

}  // namespace flashmoe::engine

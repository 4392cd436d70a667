#include "engine/plan.h"

#include <algorithm>

#include "base/error.h"
#include "base/format_units.h"
#include "base/memory_info.h"
#include "experts/moe_runner.h"
#include "model/model.h"

namespace flashmoe::engine {

namespace {

// The widest product and the widest feed-forward network decide the backend's scratch.
uint64_t backend_scratch(const PlanInput& in) {
  const model::ModelConfig& c = in.config;
  const int64_t width =
      std::max<int64_t>({c.hidden, in.state.attention.query_width(), in.state.delta.channels()});
  const int64_t intermediate =
      std::max({c.moe.intermediate, c.moe.shared_intermediate, c.dense_intermediate});
  const int64_t pairs = std::max<int64_t>(
      in.rows,
      std::min(experts::StreamedMoe::kPairsPerCall, in.rows * (c.moe.experts_per_token + 1)));
  return in.backend.scratch_bytes(pairs, width, intermediate, in.state.attention, in.context);
}

uint64_t scratch_bytes(const PlanInput& in) {
  return model::Model::activation_bytes(in.config, in.rows) + backend_scratch(in) +
         static_cast<uint64_t>(in.sequences + model::Model::kHeadRows) *
             static_cast<uint64_t>(in.config.vocab) * sizeof(float);
}

// The program's own memory differs a little from run to run; what a message names must be enough.
constexpr uint64_t kProcessSlack = uint64_t{1} << 20;

// A size for a message that, given back as it is printed, is at least `bytes`.
std::string enough(uint64_t bytes) {
  uint64_t named = bytes;
  while (parse_size(format_bytes(named)) < bytes) named += bytes / 1024 + 1;
  return format_bytes(named);
}

}  // namespace

int pool_pages(const model::StateShape& state, int64_t context, int sequences,
               uint64_t prefix_cache_bytes) {
  const int pages = state.pages_for(context);
  if (pages == 0) return 0;
  return (pages + 1) * sequences + static_cast<int>(prefix_cache_bytes / state.page_bytes());
}

MemoryPlan make_plan(const PlanInput& in) {
  const experts::ExpertIndex& index = in.weights.expert_index();
  const uint64_t k = static_cast<uint64_t>(in.config.moe.experts_per_token);
  MemoryPlan plan;
  uint64_t largest_slot = 0;
  for (int layer = 0; layer < index.layers(); ++layer) {
    const uint64_t slot =
        experts::ExpertCache::slot_size(experts::StreamedMoe::slot_bytes(index, layer, in.backend));
    largest_slot = std::max(largest_slot, slot);
    plan.token_experts += slot * k;
    plan.all_experts += slot * static_cast<uint64_t>(index.experts());
  }
  plan.budget = in.budget_bytes;
  plan.process = in.process_bytes;
  plan.dense = in.weights.prepared_bytes();
  plan.state = static_cast<uint64_t>(pool_pages(in.state, in.context, in.sequences, 0)) *
                   in.state.page_bytes() +
               static_cast<uint64_t>(in.sequences) * 2 * in.state.recurrent_bytes();
  plan.prefix_cache = in.prefix_cache_bytes;
  plan.scratch = scratch_bytes(in);

  // One layer's experts are the least that a step needs resident at once.
  constexpr int kLeastBuffers = 2;
  const uint64_t buffer =
      experts::ExpertLoader::buffer_bytes(index, in.alignment, in.whole_records);
  const uint64_t fixed = plan.process + plan.dense + plan.state + plan.prefix_cache + plan.scratch;
  plan.minimum = fixed + std::max<uint64_t>(kLeastBuffers * buffer + k * largest_slot,
                                            in.weights.staging_bytes());
  if (plan.budget < plan.minimum) {
    throw_error(
        ErrorCode::kMemory,
        "a memory budget of {} is too small: this model needs at least {} ({} dense "
        "weights, {} for {} tokens of context, {} activations, {} program, {} for experts); "
        "raise --memory, or lower --context or --chunk",
        format_bytes(plan.budget), enough(plan.minimum + kProcessSlack), format_bytes(plan.dense),
        format_bytes(plan.state), in.context, format_bytes(plan.scratch),
        format_bytes(plan.process), format_bytes(plan.minimum - fixed));
  }

  // Enough buffers to have all of a token's misses of a layer in flight. When experts are streamed,
  // more of them, so that a prompt's next layer is read while the mixer computes.
  constexpr uint64_t kMostShare = 8, kReadAheadShare = 20, kLayerShare = 4;
  const uint64_t rest = plan.budget - fixed;
  const uint64_t fit = rest / std::max<uint64_t>(buffer, 1);
  uint64_t wanted = k + 2;
  if (rest < plan.all_experts + wanted * buffer) {
    wanted =
        std::max(wanted, std::min<uint64_t>(fit / kReadAheadShare, index.experts() / kLayerShare));
  }
  plan.staging_buffers =
      static_cast<int>(std::clamp<uint64_t>(fit / kMostShare, kLeastBuffers, wanted));
  plan.staging = buffer * static_cast<uint64_t>(plan.staging_buffers);
  plan.cache = std::min(rest - plan.staging, plan.all_experts);
  return plan;
}

int64_t choose_chunk(PlanInput in) {
  constexpr int64_t kLeast = 256, kMostResident = 512, kMostStreamed = 2048;
  constexpr uint64_t kMostShare = 16;
  int64_t chunk = std::min(kLeast, in.context);
  in.rows = std::max<int64_t>(chunk, in.sequences);
  const MemoryPlan least = make_plan(in);
  const uint64_t spare = (least.cache + least.staging) / kMostShare;
  const int64_t most =
      std::min(in.context, least.cache < least.all_experts ? kMostStreamed : kMostResident);
  while (chunk < most) {
    const int64_t next = std::min(2 * chunk, most);
    in.rows = std::max<int64_t>(next, in.sequences);
    if (scratch_bytes(in) > least.scratch + spare) break;
    chunk = next;
  }
  return chunk;
}

uint64_t default_budget_bytes() {
  const uint64_t available = available_memory_bytes();
  const uint64_t headroom = std::max<uint64_t>(uint64_t{512} << 20, available / 10);
  return available > 2 * headroom ? available - headroom : available / 2;
}

}  // namespace flashmoe::engine

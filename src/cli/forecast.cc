#include "cli/forecast.h"

#include "base/memory_info.h"
#include "engine/io_choice.h"
#include "limits/limits_cache.h"
#include "limits/machine_probe.h"

namespace flashmoe::cli {

namespace {

std::optional<engine::MachineLimits> find_limits(const Engine& opened) {
  const int threads = opened.threads();
  limits::LimitsCache cache;
  const uint64_t peak = peak_rss_bytes();
  const bool has_room = opened.plan().budget > peak &&
                        opened.plan().budget - peak > limits::MachineProbe::kBufferBytes;
  if (!has_room && !cache.known_machine(threads)) return std::nullopt;
  const limits::MachineRates machine = cache.machine(threads);
  engine::MachineLimits result{machine.memory_bytes_s, machine.int8_ops_s, 0};
  const engine::ExpertPlace place = opened.typical_expert();
  if (place.bytes == 0 || opened.plan().cache >= opened.plan().all_experts) return result;
  if (!has_room && !cache.known_disk(place.path, place.bytes)) return std::nullopt;
  result.disk_bytes_s = engine::rate_of(cache.disk(place.path, place.bytes), opened.io_mode());
  return result;
}

}  // namespace

std::optional<Forecast> make_forecast(const Engine& opened, int64_t prompt_tokens,
                                      int64_t generated_tokens) {
  const std::optional<engine::MachineLimits> limits = find_limits(opened);
  if (!limits) return std::nullopt;
  const engine::Workload work = opened.workload();
  const MemoryPlan& plan = opened.plan();
  const double share = plan.all_experts == 0 ? 1
                                             : static_cast<double>(plan.cache) /
                                                   static_cast<double>(plan.all_experts);
  Forecast f;
  f.hit_rate = engine::expected_hit_rate(share, work.experts, work.k, false);
  f.prompt = engine::predict_prompt(work, share, prompt_tokens, opened.chunk(), *limits);
  f.decode =
      engine::predict_decode(work, f.hit_rate, prompt_tokens + generated_tokens / 2, *limits);
  return f;
}

}  // namespace flashmoe::cli

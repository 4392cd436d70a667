#include "bench/rig.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/memory_info.h"
#include "bench/process_io.h"
#include "engine/engine_parts.h"
#include "engine/sampler.h"
#include "experts/routing_source.h"
#include "experts/synthetic_routing.h"
#include "kernels/cpu/isa.h"

namespace flashmoe::bench {

namespace {

EngineStats operator-(const EngineStats& a, const EngineStats& b) {
  EngineStats d;
  d.expert_hits = a.expert_hits - b.expert_hits;
  d.expert_misses = a.expert_misses - b.expert_misses;
  d.expert_hit_bytes = a.expert_hit_bytes - b.expert_hit_bytes;
  d.expert_miss_bytes = a.expert_miss_bytes - b.expert_miss_bytes;
  d.disk_bytes = a.disk_bytes - b.disk_bytes;
  d.dense_s = a.dense_s - b.dense_s;
  d.attention_s = a.attention_s - b.attention_s;
  d.delta_net_s = a.delta_net_s - b.delta_net_s;
  d.router_s = a.router_s - b.router_s;
  d.expert_read_s = a.expert_read_s - b.expert_read_s;
  d.expert_read_busy_s = a.expert_read_busy_s - b.expert_read_busy_s;
  d.expert_compute_s = a.expert_compute_s - b.expert_compute_s;
  d.rows = a.rows - b.rows;
  d.steps = a.steps - b.steps;
  d.dense_bytes = a.dense_bytes - b.dense_bytes;
  return d;
}

}  // namespace

DiskMeter::DiskMeter(const Engine::Parts& parts)
    : mode_(parts.io_mode == IoMode::kUring   ? limits::ReadMode::kUring
            : parts.io_mode == IoMode::kPread ? limits::ReadMode::kPread
                                              : limits::ReadMode::kBuffered) {
  const engine::ExpertPlace place = engine::typical_expert(parts);
  path_ = place.path;
  options_.read_bytes = place.bytes;
}

double DiskMeter::bytes_s() {
  options_.seed += 1;
  return limits::disk_bytes_s(path_, mode_, options_);
}

double Span::hit_rate() const {
  const int64_t visits = done.expert_hits + done.expert_misses;
  return visits == 0 ? 1 : static_cast<double>(done.expert_hits) / static_cast<double>(visits);
}

engine::MachineLimits mean(const engine::MachineLimits& a, const engine::MachineLimits& b) {
  return {(a.memory_bytes_s + b.memory_bytes_s) / 2, (a.int8_ops_s + b.int8_ops_s) / 2,
          (a.disk_bytes_s + b.disk_bytes_s) / 2};
}

engine::MachineLimits Span::limits() const {
  engine::MachineLimits limits = mean(before, after);
  if (amid_memory_bytes_s > 0) limits.memory_bytes_s = amid_memory_bytes_s;
  return limits;
}

void LimitMeter::add_disk(const Engine::Parts& parts) {
  if (engine::typical_expert(parts).bytes > 0) disk_ = std::make_unique<DiskMeter>(parts);
}

engine::MachineLimits LimitMeter::measure(bool disk) {
  engine::MachineLimits limits;
  limits.memory_bytes_s = probe_.memory_bytes_s();
  limits.int8_ops_s = probe_.int8_ops_s();
  if (disk && disk_) limits.disk_bytes_s = disk_->bytes_s();
  return limits;
}

void LimitMeter::look_at_memory() {
  looks_ += 1;
  look_s_ += probe_.memory_pass_s();
}

double LimitMeter::take_mean_memory_bytes_s() {
  const double bytes = static_cast<double>(probe_.buffer_bytes()) * std::exchange(looks_, 0);
  const double seconds = std::exchange(look_s_, 0);
  return seconds > 0 ? bytes / seconds : 0;
}

int compute_threads(const EngineOptions& options) {
  if (options.threads > 0) return options.threads;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

Rig::Rig(const BenchOptions& options, int64_t context)
    : options_(options), meter_(compute_threads(options.engine)), random_(options.seed) {
  EngineOptions engine_options = options.engine;
  engine_options.context = std::max(engine_options.context, context);
  std::unique_ptr<Engine::Parts> parts = engine::plan_engine(engine_options);
  work_ = parts->work;
  meter_.add_disk(*parts);
  options_.engine.io = parts->io_mode;
  engine_ = engine::load_engine(std::move(parts), engine_options.progress);
  routing_ = experts::make_routing(options.routing, engine_->routing_shape(), options.seed);
  engine_->set_route_tap(routing_.get());
  session_ = std::make_unique<Session>(*engine_);
}

Rig::~Rig() = default;

double Rig::cache_share() const {
  const MemoryPlan& plan = engine_->plan();
  if (plan.all_experts == 0) return 1;
  return static_cast<double>(plan.cache) / static_cast<double>(plan.all_experts);
}

bool Rig::uniform_routing() const { return options_.routing == "uniform"; }

Span Rig::begin(int64_t tokens, bool disk) {
  Span span;
  span.tokens = tokens;
  span.before = meter_.measure(disk);
  meter_.take_mean_memory_bytes_s();  // forgets looks from before
  span.done = engine_->stats();
  span.process_disk_bytes = process_disk_bytes().value_or(span.done.disk_bytes);
  return span;
}

void Rig::end(bool disk, Span* span) {
  const EngineStats now = engine_->stats();
  span->process_disk_bytes =
      process_disk_bytes().value_or(now.disk_bytes) - span->process_disk_bytes;
  span->done = now - span->done;
  span->amid_memory_bytes_s = meter_.take_mean_memory_bytes_s();
  span->after = meter_.measure(disk);
}

std::vector<int32_t> Rig::random_tokens(int64_t count) {
  experts::RandomBits random{random_};
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) {
    token = static_cast<int32_t>(random() % static_cast<uint64_t>(engine_->vocab()));
  }
  random_ = random.state;
  return tokens;
}

void Rig::fill_cache() {
  constexpr int kMostSteps = 64;
  experts::UniformRouting uniform(engine_->routing_shape(), options_.seed);
  engine_->set_route_tap(&uniform);
  const int64_t chunk = std::min(engine_->chunk(), engine_->context());
  for (int i = 0; i < kMostSteps; ++i) {
    const EngineStats before = engine_->stats();
    session_->clear();
    session_->sync(random_tokens(chunk), options_.stop);
    const EngineStats done = engine_->stats() - before;
    if (done.expert_misses == 0) break;
  }
  session_->clear();
  timeline_.clear();
  engine_->set_route_tap(routing_.get());
}

void Rig::fill_context(int64_t tokens) {
  session_->clear();
  if (tokens == 0) return;
  const int64_t computed = std::min<int64_t>(tokens, 2 * kernels::kPageTokens);
  std::vector<int32_t> timeline = random_tokens(computed);
  session_->sync(timeline, options_.stop);
  if (computed == tokens) return;
  auto& parts = engine::EngineAccess::parts(*session_);
  parts.state.repeat_pages(tokens);
  parts.tokens.reserve(static_cast<size_t>(tokens));
  for (int64_t i = computed; i < tokens; ++i) {
    parts.tokens.push_back(timeline[static_cast<size_t>(i % computed)]);
  }
}

double Rig::decode(int64_t tokens) {
  using Clock = std::chrono::steady_clock;
  engine::SamplingOptions sampling;
  sampling.temperature = 1;
  sampling.top_k = 64;
  sampling.seed = random_;
  engine::Sampler sampler(sampling);
  std::vector<float> logits;
  constexpr double kLookEvery = 0.05;  // seconds
  double seconds = 0, looked = 0;
  timeline_.assign(session_->tokens().begin(), session_->tokens().end());
  for (int64_t i = 0; i < tokens; ++i) {
    if (timeline_.empty()) {
      timeline_ = random_tokens(1);
    } else {
      logits.assign(session_->logits().begin(), session_->logits().end());
      timeline_.push_back(sampler.sample(logits));
    }
    const Clock::time_point start = Clock::now();
    session_->sync(timeline_, options_.stop);
    seconds += std::chrono::duration<double>(Clock::now() - start).count();
    if (seconds - looked < kLookEvery) continue;
    looked = seconds;
    meter_.look_at_memory();
  }
  random_ += 1;
  return seconds;
}

Report Rig::report(const std::string& name) const {
  Report r;
  r.name = name;
  r.model = engine_->model_path();
  r.setting = {{"routing", options_.routing},
               {"backend", options_.engine.backend},
               {"isa", kernels::cpu::isa_name(kernels::cpu::chosen_isa())},
               {"threads", meter_.threads()},
               {"memory_bytes", options_.engine.memory_bytes},  // 0: what was available
               {"budget_bytes", engine_->plan().budget},
               {"cache_share", cache_share()},
               {"io", engine::io_mode_name(options_.engine.io)},
               {"chunk", engine_->chunk()},
               {"experts_per_token", work_.k},
               {"seed", options_.seed}};
  return r;
}

Json span_figures(const Span& span) {
  const engine::MachineLimits& before = span.before;
  const engine::MachineLimits& after = span.after;
  Json json;
  json["tok_s"] = span.tok_s();
  json["tokens"] = span.tokens;
  json["seconds"] = span.seconds;
  json["bytes_per_token"] =
      span.per_token(static_cast<double>(span.done.dense_bytes + span.expert_bytes()));
  json["missed_bytes_per_token"] = span.per_token(static_cast<double>(span.done.expert_miss_bytes));
  json["disk_bytes_per_token"] = span.per_token(static_cast<double>(span.process_disk_bytes));
  json["engine_disk_bytes_per_token"] = span.per_token(static_cast<double>(span.done.disk_bytes));
  json["hit_rate"] = span.hit_rate();
  json["stages_s"] = {{"dense", span.done.dense_s},
                      {"attention", span.done.attention_s},
                      {"delta_net", span.done.delta_net_s},
                      {"router", span.done.router_s},
                      {"expert_read", span.done.expert_read_s},
                      {"expert_read_busy", span.done.expert_read_busy_s},
                      {"expert_compute", span.done.expert_compute_s}};
  json["memory_gb_s"] = {before.memory_bytes_s / 1e9, after.memory_bytes_s / 1e9};
  if (span.amid_memory_bytes_s > 0) {
    json["memory_amid_gb_s"] = span.amid_memory_bytes_s / 1e9;
  }
  json["int8_gops_s"] = {before.int8_ops_s / 1e9, after.int8_ops_s / 1e9};
  if (before.disk_bytes_s > 0) {
    json["disk_gb_s"] = {before.disk_bytes_s / 1e9, after.disk_bytes_s / 1e9};
  }
  return json;
}

const Figures& median_run(std::vector<Figures>* runs) {
  std::sort(runs->begin(), runs->end(),
            [](const Figures& a, const Figures& b) { return a.fraction() < b.fraction(); });
  return (*runs)[runs->size() / 2];
}

void add_runs(const Figures& middle, const Figures& cold, const std::vector<Figures>& runs,
              Report* report) {
  report->figures["cold"] = cold.json;
  for (const Figures& run : runs) report->figures["runs"].push_back(run.json);
  report->figures["peak_rss_bytes"] = peak_rss_bytes();
  report->figure = middle.figure;
  report->limit = middle.limit;
}

}  // namespace flashmoe::bench

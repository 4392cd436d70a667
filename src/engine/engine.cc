#include "flashmoe/engine.h"

#include <algorithm>
#include <string_view>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/format_units.h"
#include "base/memory_info.h"
#include "engine/engine_parts.h"
#include "engine/io_choice.h"
#include "engine/plan.h"
#include "engine/predict.h"
#include "format/content_reader.h"
#include "format/locate.h"
#include "io/make_read_queue.h"
#include "kernels/make_backend.h"
#include "limits/limits_cache.h"
#include "model/checkpoint_config.h"

namespace flashmoe {

namespace engine {
namespace {

constexpr int64_t kDefaultContext = 8192;

struct IoChoice {
  io::Access access;
  io::QueueKind kind;
};

IoChoice io_choice(IoMode mode) {
  switch (mode) {
    case IoMode::kUring:
      return {io::Access::kDirect, io::QueueKind::kUring};
    case IoMode::kPread:
      return {io::Access::kDirect, io::QueueKind::kPread};
    case IoMode::kBuffered:
      return {io::Access::kBuffered, io::QueueKind::kPread};
    case IoMode::kAuto:
      break;
  }
  return {io::Access::kDirect, io::QueueKind::kAuto};
}

// What kAuto becomes; p->io_reason then says why.
IoMode choose_io(IoMode asked, uint64_t available_bytes, Engine::Parts* p) {
  const ExpertPlace place = typical_expert(*p);
  if (asked != IoMode::kAuto || place.bytes == 0) return asked;
  const uint64_t model_bytes =
      p->weights_plan->file_bytes() + p->weights_plan->expert_index().total_bytes();
  if (suits_page_cache(model_bytes, available_bytes)) {
    p->io_reason = "small against memory";
    return IoMode::kBuffered;
  }
  limits::LimitsCache cache;
  const limits::DiskRates rates = cache.disk(place.path, place.bytes);
  p->notes.insert(p->notes.end(), cache.notes().begin(), cache.notes().end());
  p->io_reason = "measured: " + describe_rates(rates);
  return fastest_io(rates);
}

std::vector<io::File> open_files(const format::Checkpoint& checkpoint, io::Access access) {
  std::vector<io::File> files;
  for (const std::string& path : checkpoint.files()) files.emplace_back(path, access);
  return files;
}

// The records that are read whole; all that have checksums if these are asked for.
std::vector<const format::FileRecords*> whole_records(const format::Checkpoint& checkpoint,
                                                      bool checksums) {
  std::vector<const format::FileRecords*> whole;
  for (size_t file = 0; file < checkpoint.files().size(); ++file) {
    const format::FileRecords* records = checkpoint.records(static_cast<int>(file));
    if (checksums && (records == nullptr || records->xxh3.empty())) {
      throw_error(
          ErrorCode::kUsage,
          "{}: has no checksums to check; run without --checksums, or make a store that has "
          "them: flashmoe pack",
          checkpoint.path());
    }
    const bool is_whole = records != nullptr && (checksums || !records->lz4.empty());
    whole.push_back(is_whole ? records : nullptr);
  }
  return whole;
}

void apply_options(const EngineOptions& options, Engine::Parts* p) {
  model::ModelConfig& config = p->config;
  if (options.experts_per_token < 0 || options.experts_per_token > config.moe.experts) {
    throw_error(ErrorCode::kUsage, "{} experts a token were asked for; the model has {}",
                options.experts_per_token, config.moe.experts);
  }
  if (options.experts_per_token > 0 && options.experts_per_token != config.moe.experts_per_token) {
    p->notes.emplace_back(
        fmt::format("lossy: {} experts a token instead of the {} that the model was trained with",
                    options.experts_per_token, config.moe.experts_per_token));
    config.moe.experts_per_token = options.experts_per_token;
  }
  if (options.context < 0 || options.context > config.max_context) {
    throw_error(ErrorCode::kUsage, "a context of {} tokens was asked for; the model's limit is {}",
                options.context, config.max_context);
  }
  if (options.chunk < 0 || options.threads < 0 || options.max_sequences < 1) {
    throw_error(ErrorCode::kUsage, "chunk, threads and sequences must not be negative");
  }
  p->context = options.context > 0 ? options.context
                                   : std::min<int64_t>(kDefaultContext, config.max_context);
}

}  // namespace

std::unique_ptr<Engine::Parts> plan_engine(const EngineOptions& options, const OpenHooks& hooks) {
  auto p = std::make_unique<Engine::Parts>();
  p->model_path = format::locate_model(options.model, format::process_environment());
  p->checkpoint = format::Checkpoint::open(p->model_path);
  p->checksums = options.checksums;
  p->whole_records = whole_records(*p->checkpoint, p->checksums);
  if (p->checksums) p->checkpoint->check_companions();
  p->notes = p->checkpoint->notes();
  p->config = model::read_model_config(*p->checkpoint);
  apply_options(options, p.get());

  const int cpus = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  p->pool = std::make_unique<ThreadPool>(options.threads > 0 ? options.threads : cpus);
  p->backend = hooks.make_backend ? hooks.make_backend(*p->pool)
                                  : kernels::make_backend(options.backend, *p->pool, options.exact);
  p->weights_plan = std::make_unique<model::WeightsPlan>(*p->checkpoint, p->config, *p->backend);
  p->dense_file_bytes = p->weights_plan->token_file_bytes();

  // The plan comes before anything large is allocated.
  const uint64_t available = available_memory_bytes();
  const uint64_t process_bytes = peak_rss_bytes();  // before anything is measured
  const IoChoice io = io_choice(choose_io(options.io, available, p.get()));
  p->expert_files = open_files(*p->checkpoint, io.access);
  size_t alignment = 1;
  bool direct = true;
  for (const io::File& file : p->expert_files) {
    alignment = std::max(alignment, file.alignment());
    direct = direct && file.direct();
  }
  const bool exact = options.exact || options.backend == "ref";
  const KvType kv = options.kv.value_or(exact ? KvType::kF32 : KvType::kF16);
  p->state_shape = model::StateShape(
      p->config, kv == KvType::kF16 ? kernels::KvType::kF16 : kernels::KvType::kF32);
  p->sequences = options.max_sequences;
  p->prefix_cache_bytes = options.prefix_cache_bytes;
  p->arithmetic = options.backend + (exact ? ", float32" : ", int8");
  p->look_ahead = options.look_ahead;
  p->work = make_workload(*p->weights_plan, p->config, p->state_shape);
  PlanInput input{p->config,
                  *p->weights_plan,
                  p->state_shape,
                  *p->backend,
                  options.memory_bytes > 0 ? options.memory_bytes : default_budget_bytes(),
                  process_bytes,
                  p->context,
                  0,
                  p->sequences,
                  p->prefix_cache_bytes,
                  alignment,
                  p->whole_records};
  p->chunk = options.chunk > 0 ? std::min(options.chunk, p->context) : choose_chunk(input);
  p->rows_at_once = input.rows = std::max<int64_t>(p->chunk, p->sequences);
  p->plan = make_plan(input);
  if (hooks.cache_bytes > 0) p->plan.cache = hooks.cache_bytes;
  if (p->plan.cache < p->plan.token_experts) {
    p->notes.push_back(fmt::format(
        "the expert cache ({}) holds less than one token's experts ({}): expect hardly any hits; "
        "a budget of {} would hold them",
        format_bytes(p->plan.cache), format_bytes(p->plan.token_experts),
        format_bytes(p->plan.budget - p->plan.cache + p->plan.token_experts)));
  }

  p->queue = io::make_read_queue(io.kind);
  p->io_name = fmt::format("{}, {}", p->queue->name(), direct ? "direct" : "buffered");
  p->io_mode = !direct                                         ? IoMode::kBuffered
               : std::string_view(p->queue->name()) == "uring" ? IoMode::kUring
                                                               : IoMode::kPread;
  if (io.access == io::Access::kDirect && !direct) {
    p->notes.emplace_back(
        "the file system has no direct reads; experts are read through the page cache");
  }
  if (hooks.wrap_queue) p->queue = hooks.wrap_queue(std::move(p->queue));
  return p;
}

ExpertPlace typical_expert(const Engine::Parts& parts) {
  const experts::ExpertIndex& index = parts.weights_plan->expert_index();
  for (int layer = 0; layer < index.layers(); ++layer) {
    if (index.layer(layer).parts.empty()) continue;
    const experts::ExpertReads reads = index.reads(index.key(layer, 0), 1);
    return {parts.checkpoint->files()[static_cast<size_t>(reads.reads[0].file)],
            index.expert_bytes(layer)};
  }
  return {};
}

void make_runner(Engine::Parts* p) {
  const experts::ExpertIndex& index = p->weights_plan->expert_index();
  std::vector<size_t> slot_bytes;
  for (int layer = 0; layer < index.layers(); ++layer) {
    slot_bytes.push_back(experts::StreamedMoe::slot_bytes(index, layer, *p->backend));
  }
  p->cache = std::make_unique<experts::ExpertCache>(index, std::move(slot_bytes), p->plan.cache);
  p->loader = std::make_unique<experts::ExpertLoader>(index, p->expert_files, *p->queue,
                                                      p->plan.staging_buffers, p->whole_records);
  if (!p->queue->notes().empty()) p->notes.push_back(p->queue->notes());
  p->runner =
      std::make_unique<experts::StreamedMoe>(index, *p->cache, *p->loader, *p->backend,
                                             p->look_ahead && p->plan.cache < p->plan.all_experts);
}

std::unique_ptr<Engine> load_engine(std::unique_ptr<Engine::Parts> p,
                                    const LoadProgress& progress) {
  const format::ContentReader files(
      *p->checkpoint, p->checksums ? format::Checksums::kVerify : format::Checksums::kIgnore);
  p->weights = p->weights_plan->load(files, *p->backend, progress);
  make_runner(p.get());
  p->pages = std::make_unique<model::PagePool>(
      p->state_shape.page_bytes(),
      pool_pages(p->state_shape, p->context, p->sequences, p->prefix_cache_bytes));
  p->model = std::make_unique<model::Model>(p->config, p->state_shape, *p->weights, *p->backend,
                                            *p->runner, p->rows_at_once);
  return std::make_unique<Engine>(std::move(p));
}

std::unique_ptr<Engine> open_engine(const EngineOptions& options, const OpenHooks& hooks) {
  return load_engine(plan_engine(options, hooks), options.progress);
}

}  // namespace engine

std::unique_ptr<Engine> Engine::open(const EngineOptions& options) {
  return engine::open_engine(options, {});
}

Engine::Engine(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Engine::~Engine() = default;

int Engine::vocab() const { return parts_->config.vocab; }
int64_t Engine::context() const { return parts_->context; }
int64_t Engine::max_context() const { return parts_->config.max_context; }
int64_t Engine::chunk() const { return parts_->chunk; }
int Engine::max_sequences() const { return parts_->sequences; }
int Engine::threads() const { return parts_->pool->threads(); }
const std::string& Engine::model_path() const { return parts_->model_path; }
const MemoryPlan& Engine::plan() const { return parts_->plan; }
const std::vector<std::string>& Engine::notes() const { return parts_->notes; }
std::string Engine::io_name() const { return parts_->io_name; }
std::string Engine::io_reason() const { return parts_->io_reason; }
IoMode Engine::io_mode() const { return parts_->io_mode; }

engine::Workload Engine::workload() const { return parts_->work; }
engine::ExpertPlace Engine::typical_expert() const { return engine::typical_expert(*parts_); }

experts::RoutingShape Engine::routing_shape() const {
  const model::ModelConfig& config = parts_->config;
  return {config.routed_layers(), config.moe.experts, config.moe.experts_per_token};
}
void Engine::set_route_tap(experts::RouteTap* tap) { parts_->model->set_route_tap(tap); }
void Engine::set_input_tap(experts::InputTap* tap) { parts_->model->set_input_tap(tap); }

experts::ExpertMap Engine::expert_map() const { return parts_->cache->map(); }

EngineStats Engine::stats() const {
  const experts::MoeStats moe = parts_->runner->stats();
  const model::StageTimes& times = parts_->model->times();
  EngineStats s;
  s.expert_hits = moe.hits;
  s.expert_misses = moe.misses;
  s.expert_hit_bytes = moe.hit_bytes;
  s.expert_miss_bytes = moe.miss_bytes;
  s.disk_bytes = moe.disk_bytes;
  s.dense_s = times.dense_s;
  s.attention_s = times.attention_s;
  s.delta_net_s = times.delta_net_s;
  s.router_s = times.router_s;
  s.expert_read_s = moe.read_wait_s;
  s.expert_read_busy_s = moe.read_busy_s;
  s.expert_compute_s = moe.compute_s;
  s.expert_guesses = moe.guesses;
  s.expert_right_guesses = moe.right_guesses;
  s.rows = parts_->rows;
  s.steps = parts_->steps;
  s.dense_bytes = static_cast<uint64_t>(parts_->steps) * parts_->dense_file_bytes;
  return s;
}

void Engine::step(std::span<const StepItem> items, const StopCheck& stop) {
  std::vector<model::Segment> segments;
  int64_t rows_run = 0;
  for (const StepItem& item : items) {
    for (int32_t id : item.tokens) {
      if (id < 0 || id >= parts_->config.vocab) {
        throw_error(ErrorCode::kUsage, "token id {} is outside the vocabulary of {}", id,
                    parts_->config.vocab);
      }
    }
    const int64_t length = static_cast<int64_t>(item.session->tokens().size() + item.tokens.size());
    if (length > parts_->context) {
      throw_error(ErrorCode::kUsage, "{} tokens do not fit the context of {}; raise --context",
                  length, parts_->context);
    }
    segments.push_back({&item.session->parts_->state, item.tokens});
    rows_run += static_cast<int64_t>(item.tokens.size());
  }
  parts_->model->forward(segments, stop);
  parts_->rows += rows_run;
  ++parts_->steps;

  int32_t end = 0;
  std::vector<int32_t> rows;
  std::vector<float*> wanted;  // where their logits go
  for (const StepItem& item : items) {
    Session::Parts& session = *item.session->parts_;
    session.tokens.insert(session.tokens.end(), item.tokens.begin(), item.tokens.end());
    session.has_logits = item.logits;
    end += static_cast<int32_t>(item.tokens.size());
    if (!item.logits) continue;
    rows.push_back(end - 1);
    wanted.push_back(session.logits.data());
  }
  if (wanted.size() == 1) {
    parts_->model->head(rows, wanted[0]);
    return;
  }
  // The output matrix is read once for many.
  constexpr size_t kAtOnce = model::Model::kHeadRows;
  const size_t vocab = static_cast<size_t>(parts_->config.vocab);
  std::vector<float>& logits = parts_->step_logits;
  for (size_t begin = 0; begin < wanted.size(); begin += kAtOnce) {
    const size_t n = std::min(kAtOnce, wanted.size() - begin);
    logits.resize(std::max(logits.size(), n * vocab));
    parts_->model->head(std::span(rows).subspan(begin, n), logits.data());
    for (size_t i = 0; i < n; ++i) {
      std::copy_n(logits.data() + i * vocab, vocab, wanted[begin + i]);
    }
  }
}

void Engine::row_logits(std::span<const int32_t> rows, float* logits) {
  constexpr size_t kAtOnce = model::Model::kHeadRows;
  for (size_t begin = 0; begin < rows.size(); begin += kAtOnce) {
    const size_t n = std::min(kAtOnce, rows.size() - begin);
    parts_->model->head(rows.subspan(begin, n),
                        logits + begin * static_cast<size_t>(parts_->config.vocab));
  }
}

}  // namespace flashmoe

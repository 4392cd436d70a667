#include "engine/batcher.h"

#include <algorithm>
#include <exception>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/timer.h"
#include "engine/engine_parts.h"

namespace flashmoe::engine {

namespace {

constexpr int64_t kResidentRows = 128;
constexpr int64_t kSnapshotEvery = 4096;  // tokens of a prompt

int64_t rows_beside_answers(const Engine& engine, const BatcherOptions& options) {
  if (options.rows_beside_answers > 0) return options.rows_beside_answers;
  const bool resident = engine.plan().cache >= engine.plan().all_experts;
  return resident ? std::min(kResidentRows, engine.chunk()) : engine.chunk();
}

// Where a prompt is cut to keep its state, ascending.
std::vector<int64_t> cut_points(std::vector<int64_t> points, int64_t tokens) {
  if (points.empty()) points.push_back(tokens);
  for (int64_t at = kSnapshotEvery; at < tokens; at += kSnapshotEvery) points.push_back(at);
  std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  std::erase_if(points, [&](int64_t at) { return at < 1 || at > tokens; });
  return points;
}

}  // namespace

struct Batcher::Sequence {
  Sequence(const Engine& engine, Request request, std::shared_ptr<Listener> told)
      : cuts(cut_points(std::move(request.snapshot_points),
                        static_cast<int64_t>(request.prompt.size()))),
        prompt_logprobs(request.prompt_logprobs),
        answer(engine, request.prompt, std::move(request.options), std::move(request.constraint)),
        tokens(std::move(request.prompt)),
        listener(std::move(told)) {
    generation.prompt_tokens = static_cast<int64_t>(tokens.size());
  }

  int64_t run_tokens() const { return static_cast<int64_t>(session->tokens().size()); }
  bool prompting() const { return run_tokens() < generation.prompt_tokens; }
  bool at_cut() const { return std::binary_search(cuts.begin(), cuts.end(), run_tokens()); }
  // Rows of the prompt up to the next cut, or its end.
  int64_t rows_to_cut() const {
    const auto next = std::upper_bound(cuts.begin(), cuts.end(), run_tokens());
    return (next == cuts.end() ? generation.prompt_tokens : *next) - run_tokens();
  }

  RequestId id = 0;
  std::vector<int64_t> cuts;
  const int prompt_logprobs;
  Answer answer;
  std::vector<int32_t> tokens;  // the prompt and the answer so far
  std::shared_ptr<Listener> listener;
  std::atomic<bool> cancelled{false};
  double submitted_s = 0;
  double begun_s = 0;        // it got a place
  double first_token_s = 0;  // when it came; as all of these on the Batcher's clock
  Generation generation;
  std::unique_ptr<Session> session;
  std::unique_ptr<PrefixCache::Load> load;  // while the session is filled from disk
};

Batcher::Batcher(Engine& engine, const BatcherOptions& options)
    : engine_(engine),
      options_(options),
      schedule_(std::max<int64_t>(engine.chunk(), engine.max_sequences()),
                rows_beside_answers(engine, options), options.prompt_share) {
  CHECK(options.prompt_share > 0 && options.prompt_share <= 1);
  stats_.places = engine.max_sequences();
  stats_.engine = engine.stats();
  publish_map();
  if (engine.plan().prefix_cache > 0 || !options.cache_dir.empty()) {
    prefixes_ = std::make_unique<PrefixCache>(engine, options.cache_dir, options.cache_dir_bytes);
  }
  thread_ = std::thread([this] { work(); });
}

Batcher::~Batcher() { shutdown(false); }

double Batcher::now_s() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

RequestId Batcher::submit(Request request, std::shared_ptr<Listener> listener) {
  SequencePtr sequence;
  const auto refuse = [&] {
    const std::lock_guard lock(mutex_);
    ++stats_.refused;
  };
  try {
    sequence = std::make_unique<Sequence>(engine_, std::move(request), std::move(listener));
  } catch (const Error&) {
    refuse();
    throw;
  }
  const std::lock_guard lock(mutex_);
  if (closed_) {
    ++stats_.refused;
    throw Error(ErrorCode::kCancelled, "the engine is shutting down");
  }
  const auto waiting = std::count_if(queue_.begin(), queue_.end(),
                                     [](const SequencePtr& s) { return !s->cancelled.load(); });
  if (waiting >= options_.max_queued) {
    ++stats_.refused;
    throw_error(ErrorCode::kMemory, "{} requests are waiting already; try again later", waiting);
  }
  sequence->id = ++last_id_;
  sequence->submitted_s = now_s();
  live_[sequence->id] = sequence.get();
  ++stats_.accepted;
  const RequestId id = sequence->id;
  queue_.push_back(std::move(sequence));
  news_ = true;
  wake_.notify_all();
  return id;
}

void Batcher::cancel(RequestId id) {
  const std::lock_guard lock(mutex_);
  const auto it = live_.find(id);
  if (it == live_.end()) return;
  it->second->cancelled = true;
  news_ = true;
  wake_.notify_all();
}

void Batcher::wake() {
  const std::lock_guard lock(mutex_);
  news_ = true;
  wake_.notify_all();
}

BatcherStats Batcher::stats() const {
  const std::lock_guard lock(mutex_);
  BatcherStats stats = stats_;
  stats.queued = static_cast<int>(queue_.size());
  stats.uptime_s = now_s();
  stats.prompt_tok_s = prompt_rate_.per_second(stats.uptime_s);
  stats.generated_tok_s = generated_rate_.per_second(stats.uptime_s);
  stats.disk_bytes_s = disk_rate_.per_second(stats.uptime_s);
  stats.expert_hits_s = hit_rate_.per_second(stats.uptime_s);
  stats.expert_misses_s = miss_rate_.per_second(stats.uptime_s);
  if (prefixes_ != nullptr) stats.prefix_disk = prefixes_->disk_stats();
  return stats;
}

std::shared_ptr<const experts::ExpertMap> Batcher::expert_map() {
  const std::lock_guard lock(mutex_);
  map_wanted_ = news_ = true;
  wake_.notify_all();
  return map_;
}

void Batcher::shutdown(bool drain) {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (!drain) {
      for (const auto& [id, sequence] : live_) sequence->cancelled = true;
    }
    news_ = true;
    wake_.notify_all();
  }
  const std::lock_guard join_lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

// The engine's thread.

void Batcher::work() noexcept {
  while (wait_for_work()) {
    finish_loads();
    drop_cancelled();
    admit();
    const bool can_step = std::any_of(running_.begin(), running_.end(),
                                      [](const SequencePtr& s) { return s->load == nullptr; });
    if (can_step) step();
  }
}

bool Batcher::wait_for_work() {
  if (running_.empty() && map_is_old_) publish_map();
  bool wanted = false;
  {
    std::unique_lock lock(mutex_);
    if (running_.empty()) stats_.prompting = stats_.answering = 0;
    const bool can_step = std::any_of(running_.begin(), running_.end(),
                                      [](const SequencePtr& s) { return s->load == nullptr; });
    const bool has_place = running_.size() < static_cast<size_t>(engine_.max_sequences());
    wake_.wait(lock, [&] {
      return news_ || can_step || (has_place && !queue_.empty()) ||
             (closed_ && queue_.empty() && running_.empty());
    });
    news_ = false;
    wanted = std::exchange(map_wanted_, false);
    if (closed_ && queue_.empty() && running_.empty()) return false;
  }
  if (wanted) publish_map();
  return true;
}

void Batcher::admit() {
  std::vector<SequencePtr> ended, admitted;
  const double now = now_s();
  {
    const std::lock_guard lock(mutex_);
    const auto expired = [&](const Sequence& s) {
      return options_.max_wait_s > 0 && now - s.submitted_s > options_.max_wait_s;
    };
    size_t places = static_cast<size_t>(engine_.max_sequences()) - running_.size();
    std::deque<SequencePtr> still_waiting;
    for (SequencePtr& sequence : queue_) {
      if (sequence->cancelled || (places == 0 && expired(*sequence))) {
        live_.erase(sequence->id);
        ended.push_back(std::move(sequence));
      } else if (places > 0) {
        --places;
        admitted.push_back(std::move(sequence));
      } else {
        still_waiting.push_back(std::move(sequence));
      }
    }
    queue_ = std::move(still_waiting);
    for (const SequencePtr& sequence : ended) {
      ++(sequence->cancelled ? stats_.cancelled : stats_.failed);
    }
  }
  for (const SequencePtr& sequence : ended) {
    if (sequence->cancelled) {
      sequence->generation.finish = FinishReason::kCancelled;
      sequence->generation.queued_s = now - sequence->submitted_s;
      sequence->listener->on_done(sequence->generation);
    } else {
      sequence->listener->on_error(Error(
          ErrorCode::kMemory,
          fmt::format("no place came free within {} s; try again later", options_.max_wait_s)));
    }
  }
  for (SequencePtr& sequence : admitted) start(std::move(sequence));
  sweep();
}

void Batcher::start(SequencePtr owned) {
  Sequence& sequence = *owned;
  running_.push_back(std::move(owned));
  sequence.begun_s = now_s();
  sequence.generation.queued_s = sequence.begun_s - sequence.submitted_s;
  try {
    if (free_sessions_.empty()) {
      sequence.session = std::make_unique<Session>(engine_);
    } else {
      sequence.session = std::move(free_sessions_.back());
      free_sessions_.pop_back();
    }
  } catch (const std::exception& error) {
    fail(sequence, Error(ErrorCode::kMemory, error.what()));
    return;
  }
  find_prefix(sequence);
}

void Batcher::find_prefix(Sequence& sequence) {
  if (prefixes_ != nullptr && sequence.prompt_logprobs < 0) {
    try {
      sequence.load = prefixes_->restore(*sequence.session, sequence.tokens, [this] { wake(); });
    } catch (const std::exception& error) {
      fail(sequence, Error(ErrorCode::kMemory, error.what()));
      return;
    }
    if (sequence.load != nullptr) return;
  }
  begin(sequence);
}

void Batcher::keep_state(Sequence& sequence) {
  if (prefixes_ == nullptr) return;
  try {
    prefixes_->keep(*sequence.session);
  } catch (const std::exception& error) {  // no memory: the answer goes on without
    log_warn("{}; a prompt's state is not kept", error.what());
  }
}

void Batcher::begin(Sequence& sequence) {
  sequence.generation.cached_tokens = sequence.run_tokens();
  step_cached_ += sequence.run_tokens();
  sequence.listener->on_start(sequence.run_tokens());
  if (!sequence.prompting()) next_token(sequence);
}

void Batcher::finish_loads() {
  for (const SequencePtr& sequence : running_) {
    if (sequence->load == nullptr || !sequence->load->arrived) continue;
    const std::unique_ptr<PrefixCache::Load> load = std::move(sequence->load);
    prefixes_->finish_load(*sequence->session, *load);
    if (load->outcome.good) keep_state(*sequence);
    if (sequence->cancelled) continue;
    if (load->outcome.good) {
      begin(*sequence);
    } else {
      find_prefix(*sequence);
    }
  }
  sweep();
}

void Batcher::drop_cancelled() {
  for (const SequencePtr& sequence : running_) {
    if (sequence->cancelled && sequence->load == nullptr) {
      finish(*sequence, FinishReason::kCancelled);
    }
  }
  sweep();
}

void Batcher::step() {
  std::vector<Engine::StepItem> items;
  std::vector<Sequence*> members;
  const auto add = [&](Sequence& sequence, int64_t rows) {
    const size_t begin = sequence.session->tokens().size();
    const std::span<const int32_t> tokens =
        std::span(sequence.tokens).subspan(begin, static_cast<size_t>(rows));
    items.push_back(
        {sequence.session.get(), tokens, begin + tokens.size() == sequence.tokens.size()});
    members.push_back(&sequence);
  };
  for (const SequencePtr& sequence : running_) {
    if (sequence->load == nullptr && !sequence->prompting()) add(*sequence, 1);
  }
  const int64_t answers = static_cast<int64_t>(items.size());
  const int64_t most = schedule_.prompt_rows(answers);
  int64_t left = most;
  for (const SequencePtr& sequence : running_) {
    if (left == 0) break;
    if (sequence->load != nullptr || !sequence->prompting()) continue;
    const int64_t rows = std::min(left, sequence->rows_to_cut());
    add(*sequence, rows);
    left -= rows;
  }
  // Whose prompt has had its turn comes last in the next step.
  const std::vector<Sequence*> had_turn(members.begin() + answers, members.end());
  std::stable_partition(running_.begin(), running_.end(), [&](const SequencePtr& sequence) {
    return std::find(had_turn.begin(), had_turn.end(), sequence.get()) == had_turn.end();
  });

  const double begin_s = now_s();
  run_step(items, members);
  schedule_.ran(answers, most - left, now_s() - begin_s);
  record_step(begin_s, answers, most - left);
  sweep();
}

void Batcher::run_step(std::vector<Engine::StepItem>& items, std::vector<Sequence*>& members) {
  const auto unwanted = [&] {
    return std::all_of(members.begin(), members.end(),
                       [](const Sequence* s) { return s->cancelled.load(); });
  };
  try {
    engine_.step(items, unwanted);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) step_failed(items, members, error);
    return;
  } catch (const std::exception& error) {
    step_failed(items, members, Error(ErrorCode::kMemory, error.what()));
    return;
  }
  int64_t next_row = 0;
  for (size_t i = 0; i < members.size(); ++i) {
    Sequence* sequence = members[i];
    const int64_t rows = static_cast<int64_t>(items[i].tokens.size());
    const int64_t first_row = std::exchange(next_row, next_row + rows);
    if (sequence->cancelled) continue;  // dropped before the next step
    const Generation& generation = sequence->generation;
    if (sequence->at_cut()) keep_state(*sequence);
    if (sequence->prompt_logprobs >= 0) {
      try {
        tell_prompt(*sequence, sequence->run_tokens() - rows, first_row);
      } catch (const std::exception& error) {
        fail(*sequence, Error(ErrorCode::kMemory, error.what()));
        continue;
      }
    }
    if (sequence->run_tokens() <= generation.prompt_tokens) {
      sequence->listener->on_progress(sequence->run_tokens(), generation.prompt_tokens);
    }
    if (!sequence->prompting()) next_token(*sequence);
  }
}

// Every sequence is as before the step. Run alone, only those fail that the failure belongs to.
void Batcher::step_failed(std::vector<Engine::StepItem>& items, std::vector<Sequence*>& members,
                          const Error& error) {
  if (items.size() == 1) {
    fail(*members[0], error);
    return;
  }
  for (size_t i = 0; i < items.size(); ++i) {
    std::vector<Engine::StepItem> item{items[i]};
    std::vector<Sequence*> member{members[i]};
    run_step(item, member);
  }
}

void Batcher::tell_prompt(Sequence& sequence, int64_t begin, int64_t row) {
  // The last token foretells the answer, not the prompt.
  const int64_t end = std::min(sequence.run_tokens(), sequence.generation.prompt_tokens - 1);
  const auto vocab = static_cast<size_t>(engine_.vocab());
  std::vector<float>& logits = EngineAccess::parts(engine_).step_logits;  // is in the memory plan
  while (begin < end && !sequence.cancelled) {
    const int64_t count = std::min(end - begin, model::Model::kHeadRows);
    std::vector<int32_t> rows(static_cast<size_t>(count));
    std::iota(rows.begin(), rows.end(), static_cast<int32_t>(row));
    logits.resize(std::max(logits.size(), rows.size() * vocab));
    engine_.row_logits(rows, logits.data());
    std::vector<TokenEvent> told;
    for (size_t i = 0; i < rows.size(); ++i) {
      told.push_back(with_logprobs(std::span(logits).subspan(i * vocab, vocab),
                                   sequence.tokens[static_cast<size_t>(begin) + i + 1],
                                   sequence.prompt_logprobs));
    }
    sequence.listener->on_prompt_tokens(told);
    begin += count;
    row += count;
  }
}

void Batcher::next_token(Sequence& sequence) {
  Generation& generation = sequence.generation;
  const bool first = sequence.run_tokens() == generation.prompt_tokens;
  if (first) generation.prompt_s = now_s() - sequence.begun_s;
  if (!sequence.answer.ended()) {
    std::optional<TokenEvent> event;
    try {
      Timer timer(&generation.sampling_s);
      event = sequence.answer.next(sequence.session->logits());
    } catch (const Error& error) {
      fail(sequence, error);
      return;
    } catch (const std::exception& error) {
      fail(sequence, Error(ErrorCode::kMemory, error.what()));
      return;
    }
    if (first) {
      sequence.first_token_s = now_s();
      generation.first_token_s = sequence.first_token_s - sequence.submitted_s;
    }
    if (event) {
      sequence.tokens.push_back(event->token);
      ++step_generated_;
      sequence.listener->on_token(*event);
    }
  }
  if (sequence.answer.ended()) finish(sequence, sequence.answer.finish());
}

void Batcher::finish(Sequence& sequence, FinishReason reason) {
  Generation& generation = sequence.generation;
  generation.tokens = sequence.answer.tokens();
  generation.stop_event = sequence.answer.stop_event();
  generation.finish = reason;
  if (sequence.first_token_s > 0) generation.generate_s = now_s() - sequence.first_token_s;
  keep_state(sequence);
  const SequencePtr owned =
      take_out(sequence, reason == FinishReason::kCancelled ? &BatcherStats::cancelled
                                                            : &BatcherStats::finished);
  owned->listener->on_done(owned->generation);
}

void Batcher::fail(Sequence& sequence, const Error& error) {
  const SequencePtr owned = take_out(sequence, &BatcherStats::failed);
  owned->listener->on_error(error);
}

Batcher::SequencePtr Batcher::take_out(Sequence& sequence, int64_t BatcherStats::*counter) {
  const auto it = std::find_if(running_.begin(), running_.end(),
                               [&](const SequencePtr& s) { return s.get() == &sequence; });
  CHECK(it != running_.end());
  SequencePtr owned = std::move(*it);
  if (owned->session != nullptr) {
    owned->session->clear();
    free_sessions_.push_back(std::move(owned->session));
  }
  const std::lock_guard lock(mutex_);
  live_.erase(owned->id);
  ++(stats_.*counter);
  return owned;
}

void Batcher::sweep() { std::erase(running_, nullptr); }

void Batcher::record_step(double begin_s, int64_t answer_rows, int64_t prompt_rows) {
  map_is_old_ = true;
  const EngineStats engine = engine_.stats();
  const double end_s = now_s();
  const auto prompting = std::count_if(running_.begin(), running_.end(), [](const SequencePtr& s) {
    return s != nullptr && s->prompting();
  });
  const auto running = std::count_if(running_.begin(), running_.end(),
                                     [](const SequencePtr& s) { return s != nullptr; });
  const std::lock_guard lock(mutex_);
  const EngineStats& before = stats_.engine;
  const auto rate = [&](RateWindow& window, auto amount) {
    window.add(begin_s, end_s, static_cast<double>(amount));
  };
  rate(prompt_rate_, prompt_rows);
  rate(generated_rate_, step_generated_);
  rate(disk_rate_, engine.disk_bytes - before.disk_bytes);
  rate(hit_rate_, engine.expert_hits - before.expert_hits);
  rate(miss_rate_, engine.expert_misses - before.expert_misses);
  stats_.prompting = static_cast<int>(prompting);
  stats_.answering = static_cast<int>(running - prompting);
  stats_.prompt_tokens += prompt_rows;
  stats_.generated_tokens += step_generated_;
  stats_.cached_tokens += step_cached_;
  if (prefixes_ != nullptr) stats_.prefix = prefixes_->stats();
  stats_.step_answer_rows = answer_rows;
  stats_.step_prompt_rows = prompt_rows;
  stats_.step_s = end_s - begin_s;
  stats_.engine = engine;
  step_generated_ = step_cached_ = 0;
}

void Batcher::publish_map() {
  auto map = std::make_shared<const experts::ExpertMap>(engine_.expert_map());
  const std::lock_guard lock(mutex_);
  map_ = std::move(map);
  map_is_old_ = false;
}

}  // namespace flashmoe::engine

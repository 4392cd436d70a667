// Many answers at once on one engine. Owns the thread that runs the engine, the requests that wait
// and the sequences that run; nobody else may use the engine while a Batcher lives. Knows tokens,
// no text and no network.
//
// Each step takes one token of every running answer and slices of prompts (see BatchSchedule), so
// that one layer's experts are read once for all. An answer is the one that generate() gives alone,
// to the bit. Any thread may call.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "engine/batch_schedule.h"
#include "engine/generate.h"
#include "engine/prefix_cache.h"
#include "engine/rate_window.h"
#include "experts/expert_map.h"
#include "flashmoe/engine.h"
#include "text/token_constraint.h"

namespace flashmoe::engine {

struct BatcherOptions {
  int max_queued = 256;   // requests that wait for a place; there are engine.max_sequences() places
  double max_wait_s = 0;  // for a place; 0: any time
  // Rows of prompts in one step while answers run; 0: 128 when all experts are resident. Streamed,
  // a short slice reads nearly as many experts as a long one, so there it is a whole chunk.
  int64_t rows_beside_answers = 0;
  double prompt_share = 0.5;  // of the time, at most, while answers run
  // Where states of prompts are kept on disk, if not empty, and how much of them. In memory they
  // take EngineOptions::prefix_cache_bytes; without these there is no prefix cache.
  std::string cache_dir;
  uint64_t cache_dir_bytes = uint64_t{16} << 30;
};

struct Request {
  std::vector<int32_t> prompt;  // not empty
  GenerateOptions options;
  // What the answer must keep to, but for its reasoning. It is called on the engine's thread.
  std::unique_ptr<text::TokenConstraint> constraint;
  // Lengths of the prompt that others may begin with: the end of the system prompt and of each
  // turn. None: the whole prompt. States are kept there, every few thousand tokens, and where the
  // answer ends.
  std::vector<int64_t> snapshot_points;
  // How many of the most probable tokens are told beside each token of the prompt, as
  // GenerateOptions::logprobs says it of the answer. All of the prompt is then run.
  int prompt_logprobs = -1;
};

// What becomes of a request. Called on the engine's thread: every answer waits meanwhile, so return
// at once. May call back into the Batcher, except for `shutdown`. The last call is either on_done
// or on_error.
class Listener {
 public:
  virtual ~Listener() = default;
  // It has a place, and its prompt is being run; its first `cached_tokens` are there already.
  virtual void on_start(int64_t /*cached_tokens*/) noexcept {}
  virtual void on_progress(int64_t /*done_tokens*/, int64_t /*prompt_tokens*/) noexcept {}
  // With Request::prompt_logprobs: the prompt's tokens in order, from the second on; nothing is
  // known of the first.
  virtual void on_prompt_tokens(std::span<const TokenEvent> /*tokens*/) noexcept {}
  virtual void on_token(const TokenEvent& event) noexcept = 0;
  virtual void on_done(const Generation& generation) noexcept = 0;  // also when it was cancelled
  // kMemory when no place came free in time.
  virtual void on_error(const Error& error) noexcept = 0;
};

using RequestId = uint64_t;

struct BatcherStats {
  // At the moment.
  int queued = 0;     // waiting for a place
  int prompting = 0;  // their prompts are being run
  int answering = 0;
  int places = 0;
  // Since the start.
  int64_t accepted = 0, refused = 0;                // by submit
  int64_t finished = 0, cancelled = 0, failed = 0;  // of those accepted
  int64_t prompt_tokens = 0;                        // run
  int64_t cached_tokens = 0;                        // of prompts, found in the prefix cache
  int64_t generated_tokens = 0;
  double uptime_s = 0;
  // A second, over the last RateWindow::kSeconds.
  double prompt_tok_s = 0, generated_tok_s = 0, disk_bytes_s = 0;
  double expert_hits_s = 0, expert_misses_s = 0;
  PrefixCacheStats prefix;
  PrefixStoreStats prefix_disk;
  // Of the last step.
  int64_t step_answer_rows = 0, step_prompt_rows = 0;
  double step_s = 0;
  EngineStats engine;  // after the last step
};

class Batcher {
 public:
  // The engine must outlive the Batcher. Throws Error when cache_dir cannot be used.
  explicit Batcher(Engine& engine, const BatcherOptions& options = {});
  ~Batcher();  // as shutdown(false)
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // Queues a request. Throws Error, and then never calls the listener: kUsage as Answer does,
  // kMemory when the queue is full, kCancelled after shutdown.
  RequestId submit(Request request, std::shared_ptr<Listener> listener);
  // Ends a request with FinishReason::kCancelled: at once if it waits, between two layers of the
  // step at hand if nobody else is in it, else after it. No matter if it has ended already.
  void cancel(RequestId id);

  BatcherStats stats() const;
  // As it is when nothing runs; else at most a few steps old, or a second. Asking for it makes the
  // next one.
  std::shared_ptr<const experts::ExpertMap> expert_map();

  // Takes no more requests, and ends those that it has: when they are finished (drain), or as if
  // they were cancelled. Returns when all have ended.
  void shutdown(bool drain);

 private:
  using Clock = std::chrono::steady_clock;
  struct Sequence;
  using SequencePtr = std::unique_ptr<Sequence>;

  void work() noexcept;
  // Waits for something to do; false when there will be nothing any more.
  bool wait_for_work();
  void admit();
  void start(SequencePtr sequence);
  void find_prefix(Sequence& sequence);
  void begin(Sequence& sequence);  // its prompt, or what is not cached of it
  void finish_loads();
  void keep_state(Sequence& sequence);
  void drop_cancelled();
  void step();
  void run_step(std::vector<Engine::StepItem>& items, std::vector<Sequence*>& members);
  void step_failed(std::vector<Engine::StepItem>& items, std::vector<Sequence*>& members,
                   const Error& error);
  // The probabilities of a prompt's tokens, whose token `begin` is the last step's row `row`.
  void tell_prompt(Sequence& sequence, int64_t begin, int64_t row);
  void next_token(Sequence& sequence);
  // Take a sequence out; its session is free for the next. Then they tell the listener.
  void finish(Sequence& sequence, FinishReason reason);
  void fail(Sequence& sequence, const Error& error);
  SequencePtr take_out(Sequence& sequence, int64_t BatcherStats::*counter);
  void sweep();  // deletes what was taken out of running_
  void record_step(double begin_s, int64_t answer_rows, int64_t prompt_rows);
  void publish_map();
  double now_s() const;
  void wake();

  Engine& engine_;
  const BatcherOptions options_;
  const Clock::time_point start_ = Clock::now();

  // The engine thread's.
  BatchSchedule schedule_;
  std::vector<SequencePtr> running_;  // in the order in which prompts take turns
  std::vector<std::unique_ptr<Session>> free_sessions_;
  int64_t step_generated_ = 0;  // tokens, in the step at hand
  int64_t step_cached_ = 0;     // tokens found since the last step
  bool map_is_old_ = false;     // steps ran since it was published

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::deque<SequencePtr> queue_;
  std::map<RequestId, Sequence*> live_;  // queued or running
  RequestId last_id_ = 0;
  bool closed_ = false;  // takes no more requests
  bool map_wanted_ = false;
  bool news_ = false;  // for a thread that waits
  std::shared_ptr<const experts::ExpertMap> map_;
  BatcherStats stats_;
  RateWindow prompt_rate_, generated_rate_, disk_rate_, hit_rate_, miss_rate_;

  std::unique_ptr<PrefixCache> prefixes_;  // the engine thread's; its threads call wake()

  std::mutex join_mutex_;
  std::thread thread_;
};

}  // namespace flashmoe::engine

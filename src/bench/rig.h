// What the benchmarks that run a model share: the engine, the routing, and the limits measured
// beside it. Owns all of these.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "bench/report.h"
#include "engine/predict.h"
#include "experts/route_tap.h"
#include "flashmoe/engine.h"
#include "limits/disk_probe.h"
#include "limits/machine_probe.h"

namespace flashmoe::bench {

struct BenchOptions {
  EngineOptions engine;           // with the model's folder
  std::string routing = "model";  // experts::kRoutingHelp
  int64_t tokens = 0;             // of one measurement; 0: the benchmark's own number
  int64_t context = 0;            // positions before the first token that is measured
  int64_t batch = 1;              // rows of a step, where the benchmark has a choice
  int repeat = 3;
  std::vector<std::string> formats;  // of bench_kernels: by name; empty: all
  uint64_t seed = 1;
  StopCheck stop;
};

// The disk's limit in the way that an engine reads.
class DiskMeter {
 public:
  explicit DiskMeter(const Engine::Parts& parts);
  double bytes_s();  // measured now, at other places each time

  const std::string& path() const { return path_; }
  limits::DiskProbeOptions options() const { return options_; }

 private:
  std::string path_;
  limits::ReadMode mode_;
  limits::DiskProbeOptions options_;
};

// The limits of this machine, as they are now. Owns the threads that measure.
class LimitMeter {
 public:
  explicit LimitMeter(int threads) : pool_(threads), probe_(pool_) {}
  void add_disk(const Engine::Parts& parts);  // if the model has experts

  engine::MachineLimits measure(bool disk);
  // One short look at the memory, for who asks again and again amid his work, and takes the mean.
  void look_at_memory();
  double take_mean_memory_bytes_s();  // of all looks since the last call; 0: there was none
  int threads() const { return pool_.threads(); }
  const DiskMeter* disk() const { return disk_.get(); }

 private:
  ThreadPool pool_;
  limits::MachineProbe probe_;
  std::unique_ptr<DiskMeter> disk_;
  int looks_ = 0;
  double look_s_ = 0;
};

// What an engine did in some time.
struct Span {
  int64_t tokens = 0;
  double seconds = 0;
  EngineStats done;
  uint64_t process_disk_bytes = 0;  // the system's count, else the engine's
  engine::MachineLimits before, after;
  double amid_memory_bytes_s = 0;  // the mean of looks amid the work; 0: there was none

  double per_token(double amount) const { return amount / static_cast<double>(tokens); }
  double tok_s() const { return static_cast<double>(tokens) / seconds; }
  uint64_t expert_bytes() const { return done.expert_hit_bytes + done.expert_miss_bytes; }
  double hit_rate() const;
  // The mean of before and after; memory's is the mean amid the work, where there is one: machines
  // that are shared change within milliseconds, and what they take away slows both alike.
  engine::MachineLimits limits() const;
};

class Rig {
 public:
  // Opens the engine for sequences of `context` positions. The probe's buffer comes first, so that
  // the engine's budget counts it.
  Rig(const BenchOptions& options, int64_t context);
  ~Rig();

  Engine& engine() { return *engine_; }
  Session& session() { return *session_; }
  const engine::Workload& work() const { return work_; }
  bool all_experts_fit() const { return engine_->plan().cache >= engine_->plan().all_experts; }
  // Of all experts, what the cache holds.
  double cache_share() const;
  bool uniform_routing() const;

  // Runs `work`, which runs `tokens` tokens and returns the seconds that count; limits are measured
  // right before and after. `disk`: its limit too.
  template <typename Work>
  Span measure(int64_t tokens, bool disk, Work&& work) {
    Span span = begin(tokens, disk);
    span.seconds = work();
    end(disk, &span);
    return span;
  }

  // Token ids without meaning.
  std::vector<int32_t> random_tokens(int64_t count);
  // Makes all experts resident that fit, by steps that pick them evenly; leaves the session empty.
  void fill_cache();
  // Gives the session `tokens` positions: up to two pages of them are computed, which then come
  // again and again as the keys and values of the others.
  void fill_context(int64_t tokens);
  // Lets `tokens` more tokens follow, one step each, and returns the seconds that the steps took.
  // Looks at the memory from time to time.
  double decode(int64_t tokens);

  Report report(const std::string& name) const;  // with the setting filled in

 private:
  Span begin(int64_t tokens, bool disk);
  void end(bool disk, Span* span);

  BenchOptions options_;
  LimitMeter meter_;
  engine::Workload work_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<experts::RouteTap> routing_;
  std::unique_ptr<Session> session_;
  std::vector<int32_t> timeline_;
  uint64_t random_;
};

// One measurement: a figure, its limit, and all that goes with them.
struct Figures {
  Json json;
  std::string line;
  double figure = 0, limit = 0;  // in the report's unit
  engine::MachineLimits before;  // measured right before

  double fraction() const { return limit > 0 ? figure / limit : 0; }
};

// The median by fraction of the limit, because limits change under the runs' feet. Sorts the runs.
const Figures& median_run(std::vector<Figures>* runs);
// Completes a report whose figures begin with those of `middle`: the other runs, memory, the
// figure.
void add_runs(const Figures& middle, const Figures& cold, const std::vector<Figures>& runs,
              Report* report);

// Threads that an engine with these options computes with.
int compute_threads(const EngineOptions& options);

// The mean of limits measured before and after.
engine::MachineLimits mean(const engine::MachineLimits& a, const engine::MachineLimits& b);

// The keys that decode and prefill have in common.
Json span_figures(const Span& span);

}  // namespace flashmoe::bench

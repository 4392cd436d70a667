// Runs the experts that a layer's router picked. The seam that keeps the model code the same
// wherever experts lie: `start` says what is needed, so that slow things can begin; `finish`
// computes. StreamedMoe is the one for experts on disk behind a cache in memory.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/expert_loader.h"
#include "experts/input_tap.h"
#include "experts/route_guesses.h"
#include "kernels/backend.h"

namespace flashmoe::experts {

// What the runner has done since it was made.
struct MoeStats {
  int64_t hits = 0;                        // experts needed by a layer of a step and found resident
  int64_t misses = 0;                      // and those that were read
  uint64_t hit_bytes = 0, miss_bytes = 0;  // of these experts, in their file's format
  uint64_t disk_bytes = 0;                 // read, with what alignment added
  double read_wait_s = 0;                  // time in which nothing was left to do but wait
  double read_busy_s = 0;                  // time in which reads were in flight
  double compute_s = 0;                    // preparing and computing experts
  int64_t guesses = 0;                     // experts read because of `expect`
  int64_t right_guesses = 0;               // and those that were needed then
};

class MoeRunner {
 public:
  virtual ~MoeRunner() = default;

  // A step begins. Experts that recur within it are read once per layer. ages[row]: how many rows
  // of the same sequence follow the row in the step.
  virtual void begin_step(std::span<const int32_t> ages) = 0;
  // The routes [rows, k] of one layer are known: fills in their targets, and starts reading what
  // is not resident. Computation that does not need the experts belongs after this call.
  virtual void start(int layer, std::span<kernels::Route> routes, int k) = 0;
  // Whether `expect` is wanted of a layer. It costs a router product.
  virtual bool wants_early_routes(int /*layer*/) const { return false; }
  // A guess at the routes [rows, k] of the layer after the one at hand, between its start and
  // finish, or of a step's first; of each row the most probable first.
  virtual void expect(int /*layer*/, std::span<const kernels::Route> /*routes*/, int /*k*/) {}
  // Between operations of mixers: takes note of what has come, and asks for more. Throws as
  // `finish` does.
  virtual void read_on() {}
  // y [targets, hidden]: every route's expert applied to its row of x [rows, hidden]; and `shared`,
  // if given, a network that all rows go through besides. Throws when a read fails; the runner is
  // then ready for another step.
  virtual void finish(const float* x, float* y, const kernels::FeedForwardJob* shared) = 0;
  // Forgets what was started, e.g. because the step was cancelled.
  virtual void abandon() noexcept = 0;
  virtual MoeStats stats() const = 0;
  // Who sees the experts' inputs of the steps from now on; nullptr: nobody.
  virtual void set_input_tap(InputTap* tap) = 0;
};

class StreamedMoe final : public MoeRunner {
 public:
  // What is referred to must outlive the runner. look_ahead: a disk with nothing else to do reads
  // what `expect` says, as long as most of it is needed then.
  StreamedMoe(const ExpertIndex& index, ExpertCache& cache, ExpertLoader& loader,
              kernels::Backend& backend, bool look_ahead)
      : index_(index),
        cache_(cache),
        loader_(loader),
        backend_(backend),
        look_ahead_(look_ahead),
        guesses_(static_cast<size_t>(index.layers())) {}

  // Bytes of a prepared expert of a layer: gate, up and down, each on a 64-byte boundary.
  static size_t slot_bytes(const ExpertIndex& index, int layer, const kernels::Backend& backend);
  // At most this many (network, row) pairs are computed in one call of the backend, unless a
  // single network has more.
  static constexpr int64_t kPairsPerCall = 512;
  // A layer that uses this share of its experts, for several rows, is followed by others that do.
  static constexpr double kCrowded = 0.9;

  void begin_step(std::span<const int32_t> ages) override;
  void start(int layer, std::span<kernels::Route> routes, int k) override;
  bool wants_early_routes(int layer) const override {
    return look_ahead_ && !crowded_ && guesses_[static_cast<size_t>(layer)].any_pays();
  }
  void expect(int layer, std::span<const kernels::Route> routes, int k) override;
  void read_on() override;
  void finish(const float* x, float* y, const kernels::FeedForwardJob* shared) override;
  void abandon() noexcept override;
  MoeStats stats() const override;
  void set_input_tap(InputTap* tap) override { tap_ = tap; }

 private:
  // One expert of the layer at hand and the rows that chose it.
  struct Work {
    ExpertKey key;
    int64_t first;  // its rows are rows_[first, first + count), and so are its targets
    int64_t count;
    bool arrived = false;  // of a miss: it is being computed, or was
  };
  struct Resident {
    Work work;
    ExpertPin pin;
  };

  // Whether a layer of which the step uses as many experts is followed by others that do.
  bool is_crowd(int64_t distinct) const;
  void expect_all(int layer);
  void adopt_early();
  void start_reads();  // as many as there are staging buffers for
  bool read_ahead();   // one expert of the next layer; whether there was one
  std::optional<ExpertLoader::Loaded> next_arrived(bool wait);
  void keep_early(const ExpertLoader::Loaded& loaded);
  Work* wanted(ExpertKey key);
  void take_arrived(bool wait);
  // Brings what was loaded, matrices at `offsets`, into the slot.
  void fill(const ExpertLoader::Loaded& loaded, const std::array<size_t, 4>& offsets,
            ExpertPin* slot);
  // Computes the first of residents_, as many as kPairsPerCall allows in one call of the backend
  // beside `shared` (nullptr: none), and unpins them.
  void compute_residents(const float* x, float* y, const kernels::FeedForwardJob* shared);
  void compute(const float* x, std::span<const Resident> residents, float* y,
               const kernels::FeedForwardJob* shared);
  kernels::FeedForward network(ExpertKey key, std::byte* slot) const;

  const ExpertIndex& index_;
  ExpertCache& cache_;
  ExpertLoader& loader_;
  kernels::Backend& backend_;
  InputTap* tap_ = nullptr;
  std::vector<float> inner_;  // of the experts about to be computed, for the tap

  std::vector<int32_t> ages_;  // of the step's rows

  // The layer being run, from start to finish.
  int layer_ = -1;
  std::vector<int32_t> rows_;        // grouped by expert, ascending within
  std::vector<int32_t> row_ages_;    // of these
  std::vector<Resident> residents_;  // hits, or misses that have arrived; about to be computed
  std::vector<Work> misses_;         // by key, but for those that were read ahead, which are first
  size_t next_miss_ = 0;             // misses_ from here on have not been started
  size_t taken_misses_ = 0;          // have a slot, and were or are in residents_
  std::vector<kernels::FeedForwardJob> jobs_;
  std::vector<int32_t> group_begin_;  // per expert, while grouping

  // Reading ahead, into the buffers that come free, when all misses of this layer are on their way:
  // what its router guesses for the next layer, or, in a chunk of a prompt that uses nearly all of
  // a layer's experts, all of the next layer's.
  const bool look_ahead_;
  std::vector<RouteGuesses> guesses_;  // at each layer's experts
  bool crowded_ = false;               // the layer at hand uses nearly all of its experts
  std::vector<ExpertKey> upcoming_;    // of the next layer
  size_t next_upcoming_ = 0;           // from here on not asked for
  std::vector<ExpertKey> ahead_;       // asked for ahead of their layer, which has not started
  std::vector<ExpertLoader::Loaded> early_;  // of these, or of the layer at hand: arrived
  MoeStats stats_;
};

}  // namespace flashmoe::experts

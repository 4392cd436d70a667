// The public interface: an Engine is a loaded model, a Session one sequence on it. Front ends turn
// text into token ids and back (engine/text_model.h); nothing here knows text.
//
//   auto engine = Engine::open({.model = "models/tiny"});
//   Session session(*engine);
//   session.sync(prompt_ids);              // runs what is new of the prompt
//   session.logits();                      // [vocab], for the next token
//
// One thread uses an engine and its sessions at a time. Errors are thrown as flashmoe::Error.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace flashmoe {

namespace experts {
class InputTap;
class RouteTap;
struct ExpertMap;
struct RoutingShape;
}  // namespace experts
namespace engine {
struct EngineAccess;
struct ExpertPlace;
struct Workload;
}  // namespace engine

// Asked between the layers of a step whether to give up (kCancelled).
using StopCheck = std::function<bool()>;

enum class IoMode {
  kAuto,      // buffered when the model is small against memory, else what the disk does best
  kUring,     // io_uring, past the page cache
  kPread,     // a pool of threads that read, past the page cache
  kBuffered,  // the same through the page cache
};

enum class KvType { kF16, kF32 };

struct EngineOptions {
  std::string model;            // a folder, or org/name in the local Hugging Face cache
  std::string backend = "cpu";  // "cpu", or "ref": plain float32 loops, slow and exact
  bool exact = false;           // cpu computes with float32 activations, as ref does, at some cost
  uint64_t memory_bytes = 0;    // all that may be used; 0: what is available, less headroom
  IoMode io = IoMode::kAuto;
  int threads = 0;            // 0: one for each CPU
  int64_t context = 0;        // tokens of one sequence; 0: 8192, or the model's limit if smaller
  int64_t chunk = 0;          // prompt tokens of one step; 0: what suits the model and memory
  std::optional<KvType> kv;   // storage of keys and values; default: f32 when exact, else f16
  int experts_per_token = 0;  // 0: as trained; fewer is faster, and lossy
  int max_sequences = 1;      // sessions whose state must fit at once
  uint64_t prefix_cache_bytes = 0;  // of the memory, for states of prompts to go back to
  bool look_ahead = true;           // guess the next layer's experts, while that pays
  bool checksums = false;           // check whatever is read of a packed store; others are refused
  // Called while loading, several times a second; what it throws ends the loading.
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> progress;
};

// How the memory budget is split, in bytes.
struct MemoryPlan {
  uint64_t budget = 0;
  uint64_t dense = 0;    // weights that every token needs
  uint64_t state = 0;    // key-value pages and recurrent states of all sequences at full context
  uint64_t staging = 0;  // buffers that experts are read into
  uint64_t scratch = 0;  // activations of one step
  uint64_t prefix_cache = 0;   // states of prompts to go back to
  uint64_t process = 0;        // the program itself, its index and tokenizer
  uint64_t cache = 0;          // resident experts: what is left, or all of them
  uint64_t minimum = 0;        // the smallest budget that is accepted
  uint64_t all_experts = 0;    // cache bytes that would hold every expert
  uint64_t token_experts = 0;  // cache bytes of the experts that one token visits
  int staging_buffers = 0;
};

// What an engine has done since it was opened.
struct EngineStats {
  int64_t expert_hits = 0;    // experts that a layer of a step needed and found resident
  int64_t expert_misses = 0;  // and those that were read from disk
  uint64_t expert_hit_bytes = 0, expert_miss_bytes = 0;  // of these, in their file's format
  uint64_t disk_bytes = 0;  // read for experts, with what alignment added
  double dense_s = 0, attention_s = 0, delta_net_s = 0, router_s = 0;
  double expert_read_s = 0;       // waiting for the disk with nothing left to compute
  double expert_read_busy_s = 0;  // with reads in flight, also while something was computed
  double expert_compute_s = 0;
  int64_t expert_guesses = 0;  // with look_ahead: experts read before they were asked for
  int64_t expert_right_guesses = 0;
  int64_t rows = 0;  // tokens run
  int64_t steps = 0;
  uint64_t dense_bytes = 0;  // read from memory for dense weights, in the files' formats
};

class Session;

class Engine {
 public:
  static std::unique_ptr<Engine> open(const EngineOptions& options);
  ~Engine();

  int vocab() const;
  int64_t context() const;
  int64_t max_context() const;  // the model's own limit
  int64_t chunk() const;
  int max_sequences() const;
  int threads() const;
  const std::string& model_path() const;
  const MemoryPlan& plan() const;
  EngineStats stats() const;
  experts::ExpertMap expert_map() const;  // experts/expert_map.h
  // What the user should know of how this engine runs: fallbacks, lossy settings, warnings.
  const std::vector<std::string>& notes() const;
  std::string io_name() const;    // "uring, direct", …
  std::string io_reason() const;  // why IoMode::kAuto became that; empty when it was not asked
  IoMode io_mode() const;         // never kAuto

  // For instruments (experts/route_tap.h): who sees, and may replace, the routes of the steps from
  // now on; nullptr: nobody. The tap must outlive its use.
  experts::RoutingShape routing_shape() const;
  void set_route_tap(experts::RouteTap* tap);
  // The same for the inputs of matrix products (experts/input_tap.h), which it only sees.
  void set_input_tap(experts::InputTap* tap);
  // What the model asks of a machine (engine/predict.h, engine/io_choice.h).
  engine::Workload workload() const;
  engine::ExpertPlace typical_expert() const;

  // Rows of several sessions in one step: each session goes on by its tokens.
  struct StepItem {
    Session* session = nullptr;
    std::span<const int32_t> tokens;
    bool logits = true;  // whether the session's logits after its last token are wanted
  };
  // Runs one step; the items have at most max(chunk, max_sequences) tokens in all. If it throws
  // (kCancelled when `stop` answers true), every session is as before.
  void step(std::span<const StepItem> items, const StopCheck& stop = {});
  // logits [rows.size(), vocab] of rows of the last step, counted through its items' tokens.
  void row_logits(std::span<const int32_t> rows, float* logits);

  struct Parts;
  explicit Engine(std::unique_ptr<Parts> parts);

 private:
  friend class Session;
  friend struct engine::EngineAccess;
  std::unique_ptr<Parts> parts_;
};

// A session's state at some length, kept to go back to.
class SessionSnapshot {
 public:
  ~SessionSnapshot();
  SessionSnapshot(SessionSnapshot&&) noexcept;
  SessionSnapshot& operator=(SessionSnapshot&&) noexcept;
  const std::vector<int32_t>& tokens() const;

 private:
  friend class Session;
  friend struct engine::EngineAccess;
  struct Parts;
  explicit SessionSnapshot(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// One mutable timeline of tokens on an engine, which must outlive it.
class Session {
 public:
  explicit Session(Engine& engine);
  ~Session();

  // Makes the session's tokens exactly `tokens` (not empty), with logits after the last: goes on
  // where it stands if it holds a proper prefix of them, else starts anew. Prompts are run in
  // chunks. If it throws, the session holds what was committed so far.
  void sync(std::span<const int32_t> tokens, const StopCheck& stop = {});

  const Engine& engine() const { return engine_; }
  const std::vector<int32_t>& tokens() const;
  std::span<const float> logits() const;  // [vocab] after the last token, if has_logits()
  bool has_logits() const;                // whether the step that ran it was asked for them

  SessionSnapshot snapshot() const;
  void restore(const SessionSnapshot& snapshot);  // of a session on the same engine
  void clear();

 private:
  friend class Engine;
  friend struct engine::EngineAccess;
  struct Parts;
  Engine& engine_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace flashmoe

// What an Engine and its Sessions are made of. Members are in the order in which they depend on
// each other, and are destroyed in reverse.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "engine/io_choice.h"
#include "engine/predict.h"
#include "experts/moe_runner.h"
#include "flashmoe/engine.h"
#include "format/checkpoint.h"
#include "io/file.h"
#include "io/read_queue.h"
#include "kernels/backend.h"
#include "model/model.h"

namespace flashmoe {

struct Engine::Parts {
  model::ModelConfig config;
  int64_t context = 0;
  int64_t chunk = 0;
  int64_t rows_at_once = 0;  // of the largest step
  int sequences = 0;         // whose states must fit at once
  uint64_t prefix_cache_bytes = 0;
  std::string arithmetic;  // names what the backend computes
  bool look_ahead = false;
  bool checksums = false;
  MemoryPlan plan;
  std::vector<std::string> notes;
  std::string model_path;
  std::string io_name;
  std::string io_reason;           // why kAuto became what it is; empty when it was not asked
  IoMode io_mode = IoMode::kAuto;  // which of the others it has become
  uint64_t dense_file_bytes = 0;   // of dense weights that each step reads

  engine::Workload work;

  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<format::Checkpoint> checkpoint;
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<model::WeightsPlan> weights_plan;
  std::unique_ptr<model::Weights> weights;
  std::vector<io::File> expert_files;
  std::vector<const format::FileRecords*> whole_records;  // see experts::WholeRecords
  std::unique_ptr<io::ReadQueue> queue;
  std::unique_ptr<experts::ExpertCache> cache;
  std::unique_ptr<experts::ExpertLoader> loader;
  std::unique_ptr<experts::MoeRunner> runner;
  model::StateShape state_shape;
  std::unique_ptr<model::PagePool> pages;
  std::unique_ptr<model::Model> model;
  std::vector<float> step_logits;  // [kHeadRows at most, vocab], on their way to sessions
  int64_t rows = 0, steps = 0;     // run so far
};

struct Session::Parts {
  model::State state;
  std::vector<int32_t> tokens;
  std::vector<float> logits;  // [vocab]
  bool has_logits = false;    // they are those after the last token
};

struct SessionSnapshot::Parts {
  model::Snapshot state;
  std::vector<int32_t> tokens;
  std::vector<float> logits;  // [vocab], or empty
};

namespace engine {

// For those in engine/ and bench/ who deal with what sessions are made of.
struct EngineAccess {
  static const Engine::Parts& parts(const Engine& engine) { return *engine.parts_; }
  static Engine::Parts& parts(Engine& engine) { return *engine.parts_; }
  static Session::Parts& parts(Session& session) { return *session.parts_; }
  static const SessionSnapshot::Parts& parts(const SessionSnapshot& s) { return *s.parts_; }
};

// What tests put in an engine's way; each is left out when empty.
struct OpenHooks {
  std::function<std::unique_ptr<io::ReadQueue>(std::unique_ptr<io::ReadQueue>)> wrap_queue;
  std::function<std::unique_ptr<kernels::Backend>(ThreadPool&)> make_backend;
  uint64_t cache_bytes = 0;  // instead of the plan's
};
std::unique_ptr<Engine> open_engine(const EngineOptions& options, const OpenHooks& hooks);

// The beginning of open_engine: all that is known before anything large is allocated. Of the parts
// there is everything up to the read queue but the weights.
std::unique_ptr<Engine::Parts> plan_engine(const EngineOptions& options,
                                           const OpenHooks& hooks = {});
using LoadProgress = std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;
std::unique_ptr<Engine> load_engine(std::unique_ptr<Engine::Parts> parts,
                                    const LoadProgress& progress);

ExpertPlace typical_expert(const Engine::Parts& parts);  // empty in a model without experts

// Adds cache, loader and runner to parts from plan_engine.
void make_runner(Engine::Parts* parts);

}  // namespace engine
}  // namespace flashmoe

// Carries out requests: from a Request to tokens for the Batcher, and from its tokens to events for
// a sink. Owns what is known of the model's text (how it calls tools, its grammars) and the list of
// runs; the engine, the batcher and the text model are the caller's.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/batcher.h"
#include "engine/text_model.h"
#include "server/answer.h"
#include "server/api_error.h"
#include "server/call_memory.h"
#include "server/grammars.h"
#include "server/request.h"
#include "text/tool_format.h"

namespace flashmoe::server {

// Who gets an answer. Calls come one at a time, from several threads, and must not block. The last
// is on_end or on_error, unless the run is cancelled: then there may be none.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  virtual void on_begin(int64_t prompt_tokens) = 0;  // the request was taken on
  virtual void on_event(const Event& event) = 0;
  virtual void on_end(const Usage& usage) = 0;
  virtual void on_error(const ApiError& error) = 0;
};

// One request at work; cancelled when the last holder but the batcher says so.
class Run {
 public:
  virtual ~Run() = default;
  virtual void cancel() = 0;  // from any thread; does not block
};

// What /stats says of a run.
struct RunStatus {
  std::string id, api;
  double age_s = 0;
  std::string state;  // "queued", "prompt", "answer"
  int64_t prompt_tokens = 0, done_prompt_tokens = 0, cached_tokens = 0, answer_tokens = 0;
  double answer_tok_s = 0;
};

struct GeneratorOptions {
  double timeout_s = 0;  // of a whole answer; 0: none
};

class Generator {
 public:
  Generator(const Engine& engine, const engine::TextModel& text, engine::Batcher& batcher,
            const GeneratorOptions& options);
  ~Generator();

  // The tokens of a conversation, as an answer to it would begin. Throws ApiError.
  std::vector<int32_t> encode(const Chat& chat) const;

  // Throws ApiError when it is refused; the sink is then not called. `id` and `api` are for
  // /stats. This takes as long as tokenizing does.
  std::shared_ptr<Run> start(const Request& request, const std::string& id, const std::string& api,
                             std::shared_ptr<AnswerSink> sink);

  std::vector<RunStatus> runs() const;

 private:
  class LiveRun;
  struct Prepared;

  Prepared prepare(const Request& request) const;
  void check_room(const std::vector<int32_t>& prompt) const;

  const Engine& engine_;
  const engine::TextModel& text_;
  engine::Batcher& batcher_;
  const GeneratorOptions options_;
  text::ToolFormat tool_format_ = text::ToolFormat::kNone;
  CallMemory::Form arguments_form_ = CallMemory::Form::kNone;
  mutable Grammars grammars_;
  CallMemory calls_;
  mutable std::mutex mutex_;
  std::vector<std::weak_ptr<LiveRun>> runs_;  // under mutex_
};

}  // namespace flashmoe::server

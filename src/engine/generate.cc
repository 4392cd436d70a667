#include "engine/generate.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/timer.h"

namespace flashmoe::engine {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Follows whether the text is inside a reasoning section, and how long that has become.
class ThinkTracker {
 public:
  ThinkTracker(const ThinkBudget& budget, std::span<const int32_t> prompt) : budget_(budget) {
    if (budget_.limit < 0 || budget_.open < 0 || budget_.close.empty()) return;
    // A template may end the prompt inside a section that it opened.
    for (int32_t token : prompt) see(token);
    count_ = 0;
  }

  void see(int32_t token) {
    if (token == budget_.open) {
      inside_ = true;
      count_ = 0;
    } else if (!budget_.close.empty() && token == budget_.close.front()) {
      inside_ = false;
    } else {
      ++count_;
    }
  }
  bool used_up() const { return inside_ && count_ >= budget_.limit; }

 private:
  const ThinkBudget& budget_;
  bool inside_ = false;
  int64_t count_ = 0;
};

}  // namespace

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      break;
  }
  return "cancelled";
}

Generation generate(Session& session, std::span<const int32_t> prompt,
                    const GenerateOptions& options, const TokenSink& sink, const StopCheck& stop) {
  const int64_t context = session.engine().context();
  const int64_t room = context - static_cast<int64_t>(prompt.size());
  if (room < 1 && context == session.engine().max_context()) {
    throw_error(ErrorCode::kUsage,
                "the prompt is {} tokens long, and the context holds {}, which is the model's own "
                "limit; shorten the prompt",
                prompt.size(), context);
  }
  if (room < 1) {
    throw_error(ErrorCode::kUsage,
                "the prompt is {} tokens long, and the context holds {}; raise --context (the "
                "model's own limit is {}) or shorten the prompt",
                prompt.size(), context, session.engine().max_context());
  }
  const int64_t limit = options.max_tokens < 0 ? room : std::min(options.max_tokens, room);
  Sampler sampler(options.sampling);
  sampler.see_prompt(prompt);
  ThinkTracker think(options.think, prompt);
  std::vector<int32_t> forced;  // still to be put in, last first
  std::vector<int32_t> timeline(prompt.begin(), prompt.end());
  std::vector<float> logits;

  Generation result;
  const Clock::time_point start = Clock::now();
  Clock::time_point first_token = start;
  try {
    session.sync(timeline, stop);
    result.prompt_s = seconds_since(start);
    while (static_cast<int64_t>(result.tokens.size()) < limit) {
      int32_t token;
      {
        Timer timer(&result.sampling_s);
        if (forced.empty() && think.used_up()) {
          forced.assign(options.think.close.rbegin(), options.think.close.rend());
        }
        if (forced.empty()) {
          const std::span<const float> last = session.logits();
          logits.assign(last.begin(), last.end());
          token = sampler.sample(logits);
        } else {
          token = forced.back();
          forced.pop_back();
          sampler.see_generated(token);
        }
        think.see(token);
      }
      if (result.tokens.empty()) {
        first_token = Clock::now();
        result.first_token_s = seconds_since(start);
      }
      if (std::find(options.stop_tokens.begin(), options.stop_tokens.end(), token) !=
          options.stop_tokens.end()) {
        result.finish = FinishReason::kStop;
        result.generate_s = seconds_since(first_token);
        return result;
      }
      result.tokens.push_back(token);
      timeline.push_back(token);
      if (sink) sink(token);
      if (static_cast<int64_t>(result.tokens.size()) < limit) session.sync(timeline, stop);
    }
    result.finish = FinishReason::kLength;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
    result.finish = FinishReason::kCancelled;
  }
  if (!result.tokens.empty()) result.generate_s = seconds_since(first_token);
  return result;
}

}  // namespace flashmoe::engine

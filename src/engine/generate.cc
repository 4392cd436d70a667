#include "engine/generate.h"

#include <chrono>
#include <optional>

#include "base/error.h"
#include "base/timer.h"

namespace flashmoe::engine {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

Generation generate(Session& session, std::span<const int32_t> prompt,
                    const GenerateOptions& options, const TokenSink& sink, const StopCheck& stop,
                    std::unique_ptr<text::TokenConstraint> constraint) {
  Answer answer(session.engine(), prompt, options, std::move(constraint));
  std::vector<int32_t> timeline(prompt.begin(), prompt.end());

  Generation result;
  result.prompt_tokens = static_cast<int64_t>(prompt.size());
  const Clock::time_point start = Clock::now();
  std::optional<Clock::time_point> first_token;
  try {
    session.sync(timeline, stop);
    result.prompt_s = seconds_since(start);
    while (!answer.ended()) {
      std::optional<TokenEvent> event;
      {
        Timer timer(&result.sampling_s);
        event = answer.next(session.logits());
      }
      if (!first_token) {
        first_token = Clock::now();
        result.first_token_s = seconds_since(start);
      }
      if (!event) break;
      timeline.push_back(event->token);
      if (sink) sink(*event);
      if (!answer.ended()) session.sync(timeline, stop);
    }
    result.finish = answer.finish();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
    result.finish = FinishReason::kCancelled;
  }
  result.tokens = answer.tokens();
  result.stop_event = answer.stop_event();
  if (first_token) result.generate_s = seconds_since(*first_token);
  return result;
}

}  // namespace flashmoe::engine

#include "engine/answer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/error.h"

namespace flashmoe::engine {

namespace {

// The most tokens that a template puts behind a marker at the end of a prompt. A marker that a user
// wrote has the end of the user's turn and the beginning of the answer's behind it, which are more.
constexpr int64_t kTokensAfterMarker = 4;

bool contains(const std::vector<int32_t>& tokens, int32_t token) {
  return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

void forbid(int32_t token, std::span<float> logits) {
  if (token >= 0 && static_cast<size_t>(token) < logits.size()) {
    logits[static_cast<size_t>(token)] = -std::numeric_limits<float>::infinity();
  }
}

void check_token(int32_t token, int vocab) {
  if (token < 0 || token >= vocab) {
    throw_error(ErrorCode::kUsage, "token id {} is outside the vocabulary of {}", token, vocab);
  }
}

// How many tokens an answer to the prompt may have.
int64_t room_for_answer(const Engine& engine, std::span<const int32_t> prompt) {
  const int64_t context = engine.context();
  const int64_t room = context - static_cast<int64_t>(prompt.size());
  if (room >= 1) return room;
  if (context == engine.max_context()) {
    throw_error(ErrorCode::kUsage,
                "the prompt is {} tokens long, and the context holds {}, which is the model's own "
                "limit; shorten the prompt",
                prompt.size(), context);
  }
  throw_error(ErrorCode::kUsage,
              "the prompt is {} tokens long, and the context holds {}; raise --context (the "
              "model's own limit is {}) or shorten the prompt",
              prompt.size(), context, engine.max_context());
}

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

ThinkTracker::ThinkTracker(const ThinkBudget& budget, std::span<const int32_t> prompt)
    : budget_(budget) {
  // A template may end the prompt inside a section that it opened.
  for (int32_t token : prompt) follow(token);
  inside_ = inside_ && count_ <= kTokensAfterMarker;
  if (inside_) count_ = 0;
}

void ThinkTracker::see(int32_t token) {
  if (over_) return;
  const bool was_inside = inside_;
  follow(token);
  over_ = was_inside && !inside_;
}

void ThinkTracker::follow(int32_t token) {
  if (budget_.open < 0 || budget_.close.empty()) return;
  if (token == budget_.open) {
    inside_ = true;
    closed_ = false;
    count_ = 0;
  } else if (token == budget_.close.front()) {
    inside_ = false;
    closed_ = true;
    count_ = 0;
  } else {
    ++count_;
  }
}

bool ThinkTracker::may_open() const {
  return budget_.open >= 0 && !budget_.close.empty() && !inside_ &&
         !(closed_ && count_ <= kTokensAfterMarker);
}

Answer::Answer(const Engine& engine, std::span<const int32_t> prompt, GenerateOptions options,
               std::unique_ptr<text::TokenConstraint> constraint)
    : options_(std::move(options)),
      constraint_(std::move(constraint)),
      limit_(room_for_answer(engine, prompt)),
      sampler_(options_.sampling),
      think_(options_.think, prompt) {
  CHECK(!prompt.empty());
  const int vocab = engine.vocab();
  for (int32_t token : prompt) check_token(token, vocab);
  for (int32_t token : options_.think.close) check_token(token, vocab);
  for (const auto& [token, bias] : options_.logit_bias) {
    check_token(token, vocab);
    if (!std::isfinite(bias)) {
      throw_error(ErrorCode::kUsage, "the bias of token {} is {}; it must be a number", token,
                  bias);
    }
  }
  if (options_.logprobs < -1 || options_.logprobs > kMaxLogprobs) {
    throw_error(ErrorCode::kUsage, "the probabilities of {} tokens were asked for; {} is the most",
                options_.logprobs, kMaxLogprobs);
  }
  if (options_.max_tokens >= 0) limit_ = std::min(limit_, options_.max_tokens);
  sampler_.see_prompt(prompt);
  if (constraint_ != nullptr) {
    allowed_.resize((static_cast<size_t>(vocab) + 63) / 64);
    int64_t least = constraint_->shortest_completion();
    if (think_.inside()) least += static_cast<int64_t>(options_.think.close.size());
    if (limit_ < least) {
      throw_error(ErrorCode::kUsage,
                  "an answer as it is asked for takes at least {} tokens, and {} may be generated; "
                  "raise the limit of tokens, or shorten the prompt",
                  least, limit_);
    }
  }
  if (limit_ == 0) end(FinishReason::kLength);
}

void Answer::end(FinishReason finish) {
  ended_ = true;
  finish_ = finish;
}

bool Answer::reasoning_must_close() const {
  if (think_.used_up()) return true;
  // What remains just suffices for the answer that the grammar asks for.
  return constraint_ != nullptr && think_.inside() &&
         remaining() <=
             static_cast<int64_t>(options_.think.close.size()) + constraint_->shortest_completion();
}

bool Answer::reasoning_may_open() const {
  // The markers and the answer proper must fit into what is left.
  const int64_t markers = 1 + static_cast<int64_t>(options_.think.close.size());
  return tokens_.empty() && think_.may_open() && options_.think.limit != 0 &&
         remaining() > markers + constraint_->shortest_completion();
}

bool Answer::constrain() {
  constraint_->allowed(remaining(), allowed_);
  const auto set = [&](int32_t token, bool may_come) {
    const size_t t = static_cast<size_t>(token);
    if (token < 0 || t >= logits_.size()) return;
    const uint64_t bit = uint64_t{1} << t % 64;
    allowed_[t / 64] = may_come ? allowed_[t / 64] | bit : allowed_[t / 64] & ~bit;
  };
  // Also if the grammar could read them: a stop token is never part of an answer.
  for (int32_t token : options_.stop_tokens) set(token, false);
  if (tokens_.empty()) set(options_.think.open, reasoning_may_open());
  const bool none =
      std::all_of(allowed_.begin(), allowed_.end(), [](uint64_t word) { return word == 0; });
  if (none && constraint_->may_end()) return false;
  if (none) {
    throw_error(ErrorCode::kUnsupported,
                "no token of this model's vocabulary goes on with the answer as it is asked for");
  }
  if (constraint_->may_end()) {
    for (int32_t token : options_.stop_tokens) set(token, true);
  }
  for (size_t t = 0; t < logits_.size(); ++t) {
    if ((allowed_[t / 64] >> t % 64 & 1) == 0) forbid(static_cast<int32_t>(t), logits_);
  }
  return true;
}

std::optional<TokenEvent> Answer::next(std::span<const float> logits) {
  CHECK(!ended_);
  if (forced_.empty() && reasoning_must_close()) {
    forced_.assign(options_.think.close.rbegin(), options_.think.close.rend());
  }
  const bool forced = !forced_.empty();
  // Whether the constraint has a say in this token.
  const bool constrained = constraint_ != nullptr && !forced && !think_.inside();
  int32_t token;
  if (forced) {
    token = forced_.back();
    forced_.pop_back();
    sampler_.see_generated(token);
  } else {
    logits_.assign(logits.begin(), logits.end());
    if (constrained && !constrain()) {
      end(FinishReason::kStop);
      return std::nullopt;
    }
    if (constraint_ != nullptr && think_.inside()) {  // the answer is still to come
      for (int32_t stop : options_.stop_tokens) forbid(stop, logits_);
    }
    for (const auto& [biased, bias] : options_.logit_bias) {
      logits_[static_cast<size_t>(biased)] += bias;
    }
    token = sampler_.sample(logits_);
    if (contains(options_.stop_tokens, token)) {
      end(FinishReason::kStop);
      if (options_.logprobs >= 0) stop_event_ = with_logprobs(logits, token, options_.logprobs);
      return std::nullopt;
    }
  }
  const bool was_inside = think_.inside();
  // What the constraint allows is the answer's, also where it looks like a marker of reasoning.
  if (constrained && !(token == options_.think.open && reasoning_may_open())) {
    constraint_->accept(token);
  } else {
    think_.see(token);
  }
  // The model closed its reasoning by itself: what it is used to see next comes before the answer.
  if (constraint_ != nullptr && !forced && was_inside && !think_.inside()) {
    const int64_t spare = remaining() - 1 - constraint_->shortest_completion();
    if (spare >= static_cast<int64_t>(options_.think.close.size()) - 1) {
      forced_.assign(options_.think.close.rbegin(), options_.think.close.rend() - 1);
    }
  }
  tokens_.push_back(token);
  if (remaining() == 0) {
    // A grammar's answer that is whole was not cut off.
    const bool whole =
        constraint_ != nullptr && !think_.inside() && forced_.empty() && constraint_->may_end();
    end(whole ? FinishReason::kStop : FinishReason::kLength);
  }
  if (options_.logprobs < 0) return TokenEvent{token, 0, {}};
  return with_logprobs(logits, token, options_.logprobs);
}

TokenEvent with_logprobs(std::span<const float> logits, int32_t token, int top) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (float logit : logits) total += std::exp(double{logit} - highest);
  const double log_total = double{highest} + std::log(total);
  const auto logprob = [&](int32_t t) {
    return TokenLogprob{t, static_cast<float>(double{logits[static_cast<size_t>(t)]} - log_total)};
  };

  std::vector<int32_t> best;  // most probable first
  const size_t wanted = std::min(static_cast<size_t>(top), logits.size());
  for (size_t t = 0; t < logits.size() && wanted > 0; ++t) {
    if (best.size() == wanted && logits[t] <= logits[static_cast<size_t>(best.back())]) continue;
    if (best.size() == wanted) best.pop_back();
    const auto before = std::find_if(best.begin(), best.end(), [&](int32_t other) {
      return logits[static_cast<size_t>(other)] < logits[t];
    });
    best.insert(before, static_cast<int32_t>(t));
  }
  TokenEvent event{token, logprob(token).logprob, {}};
  for (int32_t t : best) event.top.push_back(logprob(t));
  return event;
}

}  // namespace flashmoe::engine

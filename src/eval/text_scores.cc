#include "eval/text_scores.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/error.h"
#include "engine/sampler.h"

namespace flashmoe::eval {

namespace {

constexpr size_t kRowsAtOnce = 16;

// ln of the sum of exp(x).
double log_sum(std::span<const float> x) {
  const double top = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const float v : x) sum += std::exp(v - top);
  return top + std::log(sum);
}

// Nearest rank, of sorted values that are not empty.
double quantile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
}

class Tally {
 public:
  void add(const TokenScore& score, bool with_base) {
    ++tokens_;
    log_probability_ += score.log_probability;
    if (!with_base) return;
    base_log_probability_ += score.base_log_probability;
    kl_.push_back(score.kl);
    same_top_ += score.same_top ? 1 : 0;
  }
  int64_t tokens() const { return tokens_; }

  TextScores finish() {
    const auto n = static_cast<double>(tokens_);
    TextScores scores{tokens_, std::exp(-log_probability_ / n), {}};
    if (kl_.empty()) return scores;
    std::sort(kl_.begin(), kl_.end());
    scores.divergence = {std::accumulate(kl_.begin(), kl_.end(), 0.0) / n,
                         quantile(kl_, 0.99),
                         quantile(kl_, 0.999),
                         kl_.back(),
                         static_cast<double>(same_top_) / n,
                         std::exp(-base_log_probability_ / n)};
    return scores;
  }

 private:
  int64_t tokens_ = 0, same_top_ = 0;
  double log_probability_ = 0, base_log_probability_ = 0;
  std::vector<double> kl_;
};

}  // namespace

TokenScore score_token(std::span<const float> logits, std::span<const float> base, int32_t next) {
  const auto at = static_cast<size_t>(next);
  TokenScore score;
  const double norm = log_sum(logits);
  score.log_probability = logits[at] - norm;
  if (base.empty()) return score;
  const double base_norm = log_sum(base);
  score.base_log_probability = base[at] - base_norm;
  for (size_t i = 0; i < base.size(); ++i) {
    const double log_p = base[i] - base_norm;
    score.kl += std::exp(log_p) * (log_p - (logits[i] - norm));
  }
  score.kl = std::max(score.kl, 0.0);  // but for rounding it cannot be less
  score.same_top = engine::argmax(logits) == engine::argmax(base);
  return score;
}

TextScores score_text(Engine& engine, Engine* base, std::span<const int32_t> tokens,
                      const TextOptions& options) {
  CHECK(base == nullptr || base->vocab() == engine.vocab());
  const auto n = static_cast<int64_t>(tokens.size());
  if (n < 2) {
    throw Error(ErrorCode::kUsage, "the text has fewer than two tokens: there is nothing to score");
  }
  const int64_t stride = options.stride > 0 ? options.stride : options.window;
  CHECK(options.window > 0 && stride <= options.window && options.window <= engine.context());
  const int64_t chunk = base == nullptr ? engine.chunk() : std::min(engine.chunk(), base->chunk());
  const auto vocab = static_cast<size_t>(engine.vocab());
  Engine* const engines[] = {&engine, base};
  std::vector<float> logits[2];
  std::vector<int32_t> numbers(static_cast<size_t>(chunk));
  std::iota(numbers.begin(), numbers.end(), 0);

  Tally tally;
  int64_t scored_end = 1;  // tokens before it are scored; the first never is
  for (int64_t begin = 0; scored_end < n; begin += stride) {
    const int64_t end = std::min(n - 1, begin + options.window);
    Session session(engine);
    std::optional<Session> base_session;
    if (base != nullptr) base_session.emplace(*base);
    for (int64_t at = begin; at < end; at += chunk) {
      const int64_t rows = std::min(chunk, end - at);
      const auto part = tokens.subspan(static_cast<size_t>(at), static_cast<size_t>(rows));
      for (Engine* e : engines) {
        if (e == nullptr) continue;
        const Engine::StepItem item{e == base ? &*base_session : &session, part, false};
        e->step({&item, 1}, options.stop);
      }
      // Row r foretells token at + r + 1.
      for (int64_t r = std::max<int64_t>(0, scored_end - at - 1); r < rows;) {
        const auto count = std::min<size_t>(kRowsAtOnce, static_cast<size_t>(rows - r));
        for (int e = 0; e < 2; ++e) {
          if (engines[e] == nullptr) continue;
          logits[e].resize(count * vocab);
          engines[e]->row_logits(std::span(numbers).subspan(static_cast<size_t>(r), count),
                                 logits[e].data());
        }
        for (size_t i = 0; i < count; ++i, ++r) {
          const auto row = [&](int e) {
            return engines[e] == nullptr
                       ? std::span<const float>()
                       : std::span<const float>(logits[e]).subspan(i * vocab, vocab);
          };
          tally.add(score_token(row(0), row(1), tokens[static_cast<size_t>(at + r + 1)]),
                    base != nullptr);
        }
      }
      if (options.progress) options.progress(tally.tokens());
    }
    scored_end = end + 1;
  }
  return tally.finish();
}

}  // namespace flashmoe::eval

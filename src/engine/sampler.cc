#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"

namespace flashmoe::engine {

namespace {

// SplitMix64 (Steele et al., 2014), to spread a seed over the generator's state.
uint64_t split_mix(uint64_t* state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

void SamplingOptions::check() const {
  const auto require = [](bool good, const char* name, float value, const char* range) {
    if (!good) throw_error(ErrorCode::kUsage, "{} is {}; it must be {}", name, value, range);
  };
  require(temperature >= 0 && std::isfinite(temperature), "temperature", temperature, "0 or more");
  require(top_k >= 0, "top-k", static_cast<float>(top_k), "0 (all) or more");
  require(top_p >= 0 && top_p <= 1, "top-p", top_p, "between 0 and 1");
  require(min_p >= 0 && min_p <= 1, "min-p", min_p, "between 0 and 1");
  require(repetition_penalty > 0 && std::isfinite(repetition_penalty), "repetition penalty",
          repetition_penalty, "above 0");
  require(std::isfinite(presence_penalty), "presence penalty", presence_penalty, "a number");
  require(std::isfinite(frequency_penalty), "frequency penalty", frequency_penalty, "a number");
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  options.check();
  uint64_t state = options.seed;
  for (uint64_t& word : random_) word = split_mix(&state);
}

void Sampler::see_prompt(std::span<const int32_t> tokens) {
  for (int32_t token : tokens) seen_[token].in_context = true;
}

void Sampler::see_generated(int32_t token) {
  Seen& seen = seen_[token];
  seen.in_context = true;
  ++seen.generated;
}

double Sampler::uniform() {
  uint64_t* s = random_;
  const uint64_t result = std::rotl(s[0] + s[3], 23) + s[0];
  const uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = std::rotl(s[3], 45);
  return static_cast<double>(result >> 11) * 0x1p-53;
}

void Sampler::apply_penalties(std::span<float> logits) const {
  for (const auto& [token, seen] : seen_) {
    if (token < 0 || static_cast<size_t>(token) >= logits.size()) continue;
    float& logit = logits[static_cast<size_t>(token)];
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    if (seen.generated > 0) {
      logit -= options_.presence_penalty +
               options_.frequency_penalty * static_cast<float>(seen.generated);
    }
  }
}

int32_t Sampler::sample(std::span<float> logits) {
  apply_penalties(logits);
  int32_t token;
  if (options_.temperature == 0) {
    token = argmax(logits);
    see_generated(token);
    return token;
  }

  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates_.push_back({static_cast<int32_t>(i), logits[i] / options_.temperature});
  }
  // Most probable first, lowest id on ties.
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  if (options_.top_k > 0 && static_cast<size_t>(options_.top_k) < candidates_.size()) {
    const auto end = candidates_.begin() + options_.top_k;
    std::partial_sort(candidates_.begin(), end, candidates_.end(), before);
    candidates_.erase(end, candidates_.end());
  } else if (options_.top_p < 1) {
    std::sort(candidates_.begin(), candidates_.end(), before);
  }

  const float highest =
      std::max_element(candidates_.begin(), candidates_.end(), [](const auto& a, const auto& b) {
        return a.logit < b.logit;
      })->logit;
  double total = 0;
  probabilities_.clear();
  for (const Candidate& c : candidates_) {
    probabilities_.push_back(std::exp(static_cast<double>(c.logit) - highest));
    total += probabilities_.back();
  }
  if (options_.top_p < 1) {  // the fewest most probable tokens that together reach top_p
    double sum = 0;
    size_t kept = 0;
    while (kept < probabilities_.size() && sum < options_.top_p * total)
      sum += probabilities_[kept++];
    probabilities_.resize(std::max<size_t>(kept, 1));
    total = sum;
  }
  if (options_.min_p > 0) {  // the most probable has probability 1 before dividing by the total
    total = 0;
    for (double& p : probabilities_) {
      if (p < options_.min_p) p = 0;
      total += p;
    }
  }

  const double target = uniform() * total;
  double sum = 0;
  size_t chosen = 0;
  for (size_t i = 0; i < probabilities_.size(); ++i) {
    if (probabilities_[i] == 0) continue;
    chosen = i;
    sum += probabilities_[i];
    if (sum > target) break;
  }
  token = candidates_[chosen].token;
  see_generated(token);
  return token;
}

int32_t argmax(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace flashmoe::engine

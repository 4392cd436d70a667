// Teacher-forced logits of a model under given engine options: what most engine tests compare.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "engine/engine_parts.h"
#include "flashmoe/engine.h"

namespace flashmoe::engine {

struct Logits {
  int vocab = 0;
  std::vector<float> values;  // [tokens, vocab]

  std::span<const float> row(size_t i) const {
    return std::span(values).subspan(i * static_cast<size_t>(vocab), static_cast<size_t>(vocab));
  }
  size_t rows() const { return values.size() / static_cast<size_t>(vocab); }
  bool operator==(const Logits&) const = default;
};

// Feeds ids[begin, end) to the session in steps of at most `step_tokens`, appending their logits.
inline void append_logits(Engine& engine, Session& session, std::span<const int32_t> ids,
                          size_t step_tokens, Logits* out) {
  out->vocab = engine.vocab();
  std::vector<int32_t> rows(step_tokens);
  std::iota(rows.begin(), rows.end(), 0);
  for (size_t begin = 0; begin < ids.size(); begin += step_tokens) {
    const size_t n = std::min(step_tokens, ids.size() - begin);
    const Engine::StepItem item{&session, ids.subspan(begin, n), false};
    engine.step({&item, 1});
    const size_t old_size = out->values.size();
    out->values.resize(old_size + n * static_cast<size_t>(engine.vocab()));
    engine.row_logits(std::span(rows).first(n), out->values.data() + old_size);
  }
}

// The first `prompt_tokens` ids as a prompt in chunks of options.chunk, the rest one by one.
inline Logits forced_logits(const EngineOptions& options, std::span<const int32_t> ids,
                            size_t prompt_tokens, const OpenHooks& hooks = {}) {
  const std::unique_ptr<Engine> engine = open_engine(options, hooks);
  Session session(*engine);
  Logits logits;
  append_logits(*engine, session, ids.first(prompt_tokens), static_cast<size_t>(engine->chunk()),
                &logits);
  append_logits(*engine, session, ids.subspan(prompt_tokens), 1, &logits);
  return logits;
}

// ‖a - b‖ / ‖b‖
inline double relative_error(std::span<const float> a, std::span<const float> b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return std::sqrt(difference / norm);
}

// KL(softmax(b) || softmax(a)) in nats.
inline double kl_divergence(std::span<const float> a, std::span<const float> b) {
  const auto log_total = [](std::span<const float> x) {
    const double highest = *std::max_element(x.begin(), x.end());
    double total = 0;
    for (float v : x) total += std::exp(v - highest);
    return highest + std::log(total);
  };
  const double log_a = log_total(a), log_b = log_total(b);
  double kl = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    kl += std::exp(b[i] - log_b) * ((b[i] - log_b) - (a[i] - log_a));
  }
  return kl;
}

inline std::vector<int32_t> read_ids(const std::string& path) {
  std::ifstream file(path);
  return std::vector<int32_t>(std::istream_iterator<int32_t>(file), {});
}

inline double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

}  // namespace flashmoe::engine

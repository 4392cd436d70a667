#include "kernels/host/route.h"

#include <algorithm>
#include <cmath>

namespace flashmoe::kernels::host {

namespace {

// x [n] += factor * y [n].
void add_scaled(float* x, const float* y, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += factor * y[i];
}

}  // namespace

void route_row(const float* logits, int experts, int k, bool normalize, Route* routes) noexcept {
  // Insertion into the k best so far; a later expert must be strictly better, so ties go to the
  // lowest id.
  int held = 0;
  for (int e = 0; e < experts; ++e) {
    if (held == k && !(logits[e] > routes[k - 1].weight)) continue;
    int at = held < k ? held++ : k - 1;
    for (; at > 0 && logits[e] > routes[at - 1].weight; --at) routes[at] = routes[at - 1];
    routes[at] = {e, logits[e], 0};
  }
  const float highest = routes[0].weight;
  float total = 0;
  for (int e = 0; e < experts; ++e) total += std::exp(logits[e] - highest);
  float chosen = 0;
  for (int i = 0; i < k; ++i) {
    routes[i].weight = std::exp(routes[i].weight - highest) / total;
    chosen += routes[i].weight;
  }
  if (normalize) {
    for (int i = 0; i < k; ++i) routes[i].weight /= chosen;
  }
}

void combine_row(const Route* routes, int k, const float* y, int64_t hidden, const float* shared,
                 float shared_gate, float* out) noexcept {
  // Hidden is walked in pieces so that the two sums stay in registers or L1.
  constexpr int64_t kPiece = 256;
  constexpr int kShards = Backend::kShards;
  for (int64_t begin = 0; begin < hidden; begin += kPiece) {
    const int64_t n = std::min(kPiece, hidden - begin);
    float total[kPiece] = {};
    for (int shard = 0; shard < kShards; ++shard) {
      float sum[kPiece] = {};
      bool any = false;
      // k is small: find the next expert id of this shard by scanning.
      for (int last = -1;;) {
        const Route* next = nullptr;
        for (int i = 0; i < k; ++i) {
          const Route& r = routes[i];
          if (r.expert % kShards == shard && r.expert > last &&
              (!next || r.expert < next->expert)) {
            next = &r;
          }
        }
        if (!next) break;
        add_scaled(sum, y + next->target * hidden + begin, next->weight, n);
        last = next->expert;
        any = true;
      }
      if (any) add_scaled(total, sum, 1.0f, n);
    }
    if (shared != nullptr) {
      add_scaled(total, shared + begin, 1.0f / (1.0f + std::exp(-shared_gate)), n);
    }
    std::copy(total, total + n, out + begin);
  }
}

}  // namespace flashmoe::kernels::host

// The operations that all host backends share, against their definitions in double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "base/half.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/ref/ref_backend.h"
#include "tests/kernels/matrices.h"

namespace flashmoe::kernels {
namespace {

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::vector<float> normal(int64_t n, float scale = 1) {
    std::normal_distribution<float> d(0, scale);
    std::vector<float> v(static_cast<size_t>(n));
    for (float& x : v) x = d(engine_);
    return v;
  }
  int below(int n) { return static_cast<int>(engine_() % static_cast<unsigned>(n)); }

 private:
  std::mt19937 engine_;
};

double relative_error(const std::vector<float>& a, const std::vector<double>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / norm);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double silu(double x) { return x * sigmoid(x); }

class HostTest : public ::testing::Test {
 protected:
  ThreadPool pool_{3};
  RefBackend backend_{pool_};
};

TEST_F(HostTest, RmsNorm) {
  Random random(1);
  for (int64_t width : {1, 15, 16, 33, 256}) {
    const std::vector<float> x = random.normal(3 * width), weight = random.normal(width);
    std::vector<float> out(x.size());
    backend_.rms_norm(x.data(), weight.data(), 3, width, 1e-5f, out.data());
    std::vector<double> expected;
    for (int64_t r = 0; r < 3; ++r) {
      double mean = 0;
      for (int64_t i = 0; i < width; ++i)
        mean += double{x[r * width + i]} * x[r * width + i] / width;
      for (int64_t i = 0; i < width; ++i) {
        expected.push_back(x[r * width + i] / std::sqrt(mean + 1e-5) * weight[i]);
      }
    }
    EXPECT_LT(relative_error(out, expected), 1e-6) << width;
  }
}

// Ties, also across the edge of the k best, go to the lowest id.
TEST_F(HostTest, RouteTakesTheMostProbable) {
  Random random(2);
  for (int experts : {4, 7, 64}) {
    for (int k : {1, 2, 4}) {
      std::vector<float> logits(5 * experts);
      for (float& l : logits) l = static_cast<float>(random.below(5)) / 2;  // many ties
      for (bool normalize : {false, true}) {
        std::vector<Route> routes(5 * k);
        backend_.route(logits.data(), 5, experts, k, normalize, routes.data());
        for (int r = 0; r < 5; ++r) {
          const float* row = logits.data() + r * experts;
          std::vector<int> order(experts);
          std::iota(order.begin(), order.end(), 0);
          std::stable_sort(order.begin(), order.end(),
                           [&](int a, int b) { return row[a] > row[b]; });
          double total = 0, chosen = 0;
          for (int e = 0; e < experts; ++e) total += std::exp(double{row[e]});
          for (int i = 0; i < k; ++i) chosen += std::exp(double{row[order[i]]}) / total;
          for (int i = 0; i < k; ++i) {
            const Route& route = routes[r * k + i];
            EXPECT_EQ(route.expert, order[i]);
            const double p = std::exp(double{row[order[i]]}) / total;
            EXPECT_NEAR(route.weight, normalize ? p / chosen : p, 1e-6);
          }
        }
      }
    }
  }
}

TEST_F(HostTest, RouteSurvivesLargeLogits) {
  const std::vector<float> logits = {1e30f, -1e30f, 1e30f};
  std::vector<Route> routes(2);
  backend_.route(logits.data(), 1, 3, 2, true, routes.data());
  EXPECT_EQ(routes[0].expert, 0);
  EXPECT_EQ(routes[1].expert, 2);
  EXPECT_EQ(routes[0].weight, 0.5f);
}

// The sum's order is by shard and id, whatever the order of the routes and targets.
TEST_F(HostTest, CombineDoesNotDependOnOrder) {
  Random random(3);
  constexpr int kRows = 4, kK = 6, kHidden = 300;
  const std::vector<float> y = random.normal(kRows * kK * kHidden);
  const std::vector<float> shared = random.normal(kRows * kHidden), gate = random.normal(kRows);
  std::vector<Route> routes;
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kK; ++i) {
      routes.push_back({(i * 13 + r) % 40, 0.1f + static_cast<float>(i), r * kK + i});
    }
  }
  std::vector<float> out(kRows * kHidden);
  backend_.combine(routes.data(), y.data(), kRows, kK, kHidden, shared.data(), gate.data(),
                   out.data());
  std::vector<double> expected(out.size());
  for (int r = 0; r < kRows; ++r) {
    for (int h = 0; h < kHidden; ++h) {
      for (int i = 0; i < kK; ++i) {
        const Route& route = routes[r * kK + i];
        expected[r * kHidden + h] += double{route.weight} * y[route.target * kHidden + h];
      }
      expected[r * kHidden + h] += sigmoid(gate[r]) * shared[r * kHidden + h];
    }
  }
  EXPECT_LT(relative_error(out, expected), 1e-6);

  for (int r = 0; r < kRows; ++r)
    std::reverse(routes.begin() + r * kK, routes.begin() + (r + 1) * kK);
  std::vector<float> reversed(out.size());
  backend_.combine(routes.data(), y.data(), kRows, kK, kHidden, shared.data(), gate.data(),
                   reversed.data());
  EXPECT_EQ(out, reversed);
}

struct DeltaCase {
  int key_heads, value_heads, key_dim, value_dim, conv_width;
  bool tiled = false;
};

class DeltaNetTest : public HostTest, public ::testing::WithParamInterface<DeltaCase> {};

// The recurrence of docs/architecture.md, in double precision.
TEST_P(DeltaNetTest, FollowsTheRecurrence) {
  const DeltaCase c = GetParam();
  const DeltaNetShape shape{c.key_heads,  c.value_heads, c.key_dim, c.value_dim,
                            c.conv_width, 1e-6f,         c.tiled};
  constexpr int64_t kRows = 9;
  Random random(4);
  const std::vector<float> qkv = random.normal(kRows * shape.channels());
  const std::vector<float> z = random.normal(kRows * shape.value_width());
  const std::vector<float> beta = random.normal(kRows * c.value_heads);
  const std::vector<float> dt = random.normal(kRows * c.value_heads, 10);  // softplus on both sides
  const std::vector<float> conv = random.normal(shape.channels() * c.conv_width);
  std::vector<float> decay = random.normal(c.value_heads);
  for (float& d : decay) d = -std::exp(d);
  const std::vector<float> dt_bias = random.normal(c.value_heads),
                           norm = random.normal(c.value_dim);
  const std::vector<float> conv_in = random.normal(shape.conv_state_floats());
  const std::vector<float> state_in = random.normal(shape.state_floats());
  std::vector<float> conv_out(conv_in.size()), state_out(state_in.size());
  std::vector<float> out(kRows * shape.value_width());
  const DeltaNetSegment segment{
      0, kRows, conv_in.data(), state_in.data(), conv_out.data(), state_out.data()};
  backend_.delta_net(shape, {conv.data(), decay.data(), dt_bias.data(), norm.data()},
                     {qkv.data(), z.data(), beta.data(), dt.data()}, {&segment, 1}, out.data());

  const int channels = shape.channels(), taps = c.conv_width;
  std::vector<double> inputs(conv_in.begin(), conv_in.end());  // with the history before them
  inputs.insert(inputs.end(), qkv.begin(), qkv.end());
  std::vector<double> state(state_in.begin(), state_in.end());
  std::vector<double> expected(out.size());
  for (int64_t r = 0; r < kRows; ++r) {
    std::vector<double> mixed(channels);
    for (int ch = 0; ch < channels; ++ch) {
      for (int t = 0; t < taps; ++t)
        mixed[ch] += conv[t * channels + ch] * inputs[(r + t) * channels + ch];
      mixed[ch] = silu(mixed[ch]);
    }
    for (int h = 0; h < c.value_heads; ++h) {
      const int key_head = c.tiled ? h % c.key_heads : h / (c.value_heads / c.key_heads);
      const double* q = mixed.data() + key_head * c.key_dim;
      const double* k = mixed.data() + shape.key_width() + key_head * c.key_dim;
      const double* v = mixed.data() + 2 * shape.key_width() + h * c.value_dim;
      double q_norm = 1e-6, k_norm = 1e-6;
      for (int i = 0; i < c.key_dim; ++i) q_norm += q[i] * q[i], k_norm += k[i] * k[i];
      const double b = sigmoid(beta[r * c.value_heads + h]);
      const double g =
          std::exp(decay[h] * std::log1p(std::exp(double{dt[r * c.value_heads + h]} + dt_bias[h])));
      double* s = state.data() + int64_t{h} * c.key_dim * c.value_dim;
      std::vector<double> o(c.value_dim);
      for (int j = 0; j < c.value_dim; ++j) {
        double read = 0;
        for (int i = 0; i < c.key_dim; ++i) {
          s[i * c.value_dim + j] *= g;
          read += s[i * c.value_dim + j] * k[i] / std::sqrt(k_norm);
        }
        const double delta = b * (v[j] - read);
        for (int i = 0; i < c.key_dim; ++i) {
          s[i * c.value_dim + j] += k[i] / std::sqrt(k_norm) * delta;
          o[j] += s[i * c.value_dim + j] * q[i] / std::sqrt(q_norm) / std::sqrt(double(c.key_dim));
        }
      }
      double mean = 0;
      for (double x : o) mean += x * x / c.value_dim;
      for (int j = 0; j < c.value_dim; ++j) {
        const int64_t at = r * shape.value_width() + h * c.value_dim + j;
        expected[at] = o[j] / std::sqrt(mean + 1e-6) * norm[j] * silu(z[at]);
      }
    }
  }
  EXPECT_LT(relative_error(out, expected), 1e-5);
  EXPECT_LT(relative_error(state_out, state), 1e-5);
  EXPECT_TRUE(std::equal(conv_out.begin(), conv_out.end(),
                         inputs.end() - static_cast<std::ptrdiff_t>(conv_out.size())));
}

INSTANTIATE_TEST_SUITE_P(Shapes, DeltaNetTest,
                         ::testing::Values(DeltaCase{1, 1, 4, 4, 4}, DeltaCase{2, 4, 16, 8, 4},
                                           DeltaCase{2, 6, 8, 24, 3}, DeltaCase{3, 3, 5, 7, 2},
                                           DeltaCase{1, 2, 128, 128, 4}, DeltaCase{1, 1, 8, 8, 12},
                                           DeltaCase{2, 6, 8, 24, 3, true}));

struct AttentionCase {
  int heads, kv_heads, head_dim, rotary_dim;
  KvType kv;
  bool gated;
};

class AttentionTest : public HostTest, public ::testing::WithParamInterface<AttentionCase> {};

TEST_P(AttentionTest, FollowsTheDefinition) {
  const AttentionCase c = GetParam();
  const AttentionShape shape{c.heads, c.kv_heads, c.head_dim, c.rotary_dim, 1e-6f, c.kv};
  constexpr int64_t kBefore = 250, kRows = 20;  // over the edge of a page
  constexpr int64_t kAll = kBefore + kRows;
  Random random(6);
  const std::vector<float> q = random.normal(kAll * shape.query_width());
  const std::vector<float> k = random.normal(kAll * shape.kv_width());
  const std::vector<float> v = random.normal(kAll * shape.kv_width());
  const std::vector<float> gate = random.normal(kAll * shape.query_width());
  const std::vector<float> q_norm = random.normal(c.head_dim), k_norm = random.normal(c.head_dim);
  std::vector<float> inv_freq;
  for (int i = 0; i < c.rotary_dim / 2; ++i)
    inv_freq.push_back(std::pow(1e4f, -2.0f * i / c.rotary_dim));
  std::vector<std::vector<std::byte>> memory(2, std::vector<std::byte>(shape.page_bytes()));
  const std::vector<std::byte*> pages = {memory[0].data(), memory[1].data()};
  std::vector<float> out(kAll * shape.query_width());
  // Steps of one sequence; that of a single row is computed in another way.
  for (const auto& [begin, n] : {std::pair<int64_t, int64_t>{0, kBefore},
                                 {kBefore, kRows - 2},
                                 {kAll - 2, 1},
                                 {kAll - 1, 1}}) {
    std::vector<float> q_used(q.begin() + begin * shape.query_width(), q.end());
    std::vector<float> k_used(k.begin() + begin * shape.kv_width(), k.end());
    const AttentionSegment segment{0, n, begin, pages};
    backend_.attention(shape, {q_norm.data(), k_norm.data(), inv_freq.data()},
                       {q_used.data(), k_used.data(), v.data() + begin * shape.kv_width(),
                        c.gated ? gate.data() + begin * shape.query_width() : nullptr},
                       {&segment, 1}, out.data() + begin * shape.query_width());
  }

  const auto stored = [&](double x) {
    return c.kv == KvType::kF16 ? double{to_float(to_f16(static_cast<float>(x)))} : x;
  };
  const auto rotated = [&](const float* x, const std::vector<float>& norm, int64_t position) {
    double mean = 0;
    for (int i = 0; i < c.head_dim; ++i) mean += double{x[i]} * x[i] / c.head_dim;
    std::vector<double> y(c.head_dim);
    for (int i = 0; i < c.head_dim; ++i) y[i] = x[i] / std::sqrt(mean + 1e-6) * norm[i];
    const int half = c.rotary_dim / 2;
    for (int i = 0; i < half; ++i) {
      const double angle = static_cast<double>(static_cast<float>(position) * inv_freq[i]);
      const double a = y[i], b = y[i + half];
      y[i] = a * std::cos(angle) - b * std::sin(angle);
      y[i + half] = b * std::cos(angle) + a * std::sin(angle);
    }
    return y;
  };
  std::vector<double> expected(out.size());
  for (int64_t r = 0; r < kAll; ++r) {
    for (int h = 0; h < c.heads; ++h) {
      const int kv_head = h / (c.heads / c.kv_heads);
      const std::vector<double> query =
          rotated(q.data() + r * shape.query_width() + h * c.head_dim, q_norm, r);
      std::vector<double> p(r + 1);
      double total = 0;
      for (int64_t t = 0; t <= r; ++t) {
        const std::vector<double> key =
            rotated(k.data() + t * shape.kv_width() + kv_head * c.head_dim, k_norm, t);
        double score = 0;
        for (int i = 0; i < c.head_dim; ++i) score += query[i] * stored(key[i]);
        p[t] = std::exp(score / std::sqrt(double(c.head_dim)));
        total += p[t];
      }
      for (int i = 0; i < c.head_dim; ++i) {
        double sum = 0;
        for (int64_t t = 0; t <= r; ++t) {
          sum += p[t] / total * stored(v[t * shape.kv_width() + kv_head * c.head_dim + i]);
        }
        const int64_t at = r * shape.query_width() + h * c.head_dim + i;
        expected[at] = c.gated ? sum * sigmoid(gate[at]) : sum;
      }
    }
  }
  // A value may round to the other of two neighbouring f16.
  EXPECT_LT(relative_error(out, expected), c.kv == KvType::kF16 ? 1e-4 : 3e-6);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTest,
                         ::testing::Values(AttentionCase{2, 1, 16, 16, KvType::kF32, false},
                                           AttentionCase{4, 2, 32, 8, KvType::kF32, true},
                                           AttentionCase{4, 4, 20, 10, KvType::kF16, true},
                                           AttentionCase{6, 2, 64, 32, KvType::kF16, false},
                                           AttentionCase{20, 2, 16, 16, KvType::kF16, true}));

// y = down(silu(gate x) * up x) for experts with different rows, on both backends.
TEST_F(HostTest, FeedForwardRunsEachNetworkOnItsRows) {
  constexpr int64_t kHidden = 64, kInner = 48, kNetworks = 3;
  Random random(7);
  CpuBackend cpu(pool_);
  quant::Format format;  // f32
  for (Backend* backend : {static_cast<Backend*>(&backend_), static_cast<Backend*>(&cpu)}) {
    std::vector<std::vector<float>> weights;
    std::vector<AlignedBuffer> prepared;
    const auto make = [&](int64_t rows, int64_t cols) {
      weights.push_back(random.normal(rows * cols, 0.2f));
      prepared.emplace_back(backend->prepared_bytes(format, rows, cols));
      backend->prepare(
          {format, rows, cols, reinterpret_cast<const std::byte*>(weights.back().data()), nullptr,
           nullptr},
          0, rows, prepared.back().data());
      return Matrix{format, rows, cols, prepared.back().data()};
    };
    const std::vector<float> x = random.normal(5 * kHidden);
    const std::vector<std::vector<int32_t>> rows = {{4, 0}, {2}, {0, 1, 3}};
    std::vector<FeedForwardJob> jobs;
    std::vector<float> y(6 * kHidden);
    float* target = y.data();
    for (int n = 0; n < kNetworks; ++n) {
      const FeedForward network{make(kInner, kHidden), make(kInner, kHidden),
                                make(kHidden, kInner)};
      jobs.push_back({network, rows[n], target});
      target += static_cast<int64_t>(rows[n].size()) * kHidden;
    }
    backend->feed_forward(x.data(), kHidden, jobs);

    std::vector<double> expected;
    for (int n = 0; n < kNetworks; ++n) {
      const std::vector<float>&gate = weights[3 * n], &up = weights[3 * n + 1],
            &down = weights[3 * n + 2];
      for (int32_t r : rows[n]) {
        std::vector<double> inner(kInner);
        for (int64_t i = 0; i < kInner; ++i) {
          double g = 0, u = 0;
          for (int64_t c = 0; c < kHidden; ++c) {
            g += double{gate[i * kHidden + c]} * x[r * kHidden + c];
            u += double{up[i * kHidden + c]} * x[r * kHidden + c];
          }
          inner[i] = silu(g) * u;
        }
        for (int64_t h = 0; h < kHidden; ++h) {
          double sum = 0;
          for (int64_t i = 0; i < kInner; ++i) sum += down[h * kInner + i] * inner[i];
          expected.push_back(sum);
        }
      }
    }
    EXPECT_LT(relative_error(y, expected), 1e-5) << backend->name();
  }
}

// Gate and up may take their inputs in different forms: rounded, split or as floats.
TEST_F(HostTest, FeedForwardTakesEachInputInItsForm) {
  using quant::DType, quant::Encoding;
  constexpr int64_t kHidden = 128, kInner = 64;
  const quant::Format affine{Encoding::kAffine, DType::kF32, 8, 64};
  const quant::Format plain{Encoding::kPlain, DType::kF32};
  const std::vector<std::pair<quant::Format, quant::Format>> formats = {
      {affine, affine}, {affine, plain}, {affine, plain}, {plain, affine}, {plain, plain}};
  const std::vector<float> x = Random(11).normal(2 * kHidden);
  const auto outputs = [&](Backend& backend) {
    std::vector<AlignedBuffer> prepared;
    const auto make = [&](const quant::Format& format, int64_t rows, int64_t cols) {
      const testing::TestMatrix matrix(format, rows, cols, 12 + prepared.size());
      prepared.emplace_back(backend.prepared_bytes(format, rows, cols));
      backend.prepare(matrix.file(), 0, rows, prepared.back().data());
      return Matrix{format, rows, cols, prepared.back().data()};
    };
    const std::vector<int32_t> rows = {1, 0};
    std::vector<float> y(formats.size() * 2 * kHidden);
    std::vector<FeedForwardJob> jobs;
    for (const auto& [gate, up] : formats) {
      const FeedForward network{make(gate, kInner, kHidden), make(up, kInner, kHidden),
                                make(affine, kHidden, kInner)};
      jobs.push_back({network, rows, y.data() + jobs.size() * 2 * kHidden});
    }
    backend.feed_forward(x.data(), kHidden, jobs);
    return y;
  };
  const std::vector<float> floats = outputs(backend_);
  CpuBackend rounding(pool_), exact(pool_, true);
  for (size_t n = 0; n < formats.size(); ++n) {
    const auto of = [&](const std::vector<float>& y) {
      return std::span(y).subspan(n * 2 * kHidden, 2 * kHidden);
    };
    const std::vector<double> expected(of(floats).begin(), of(floats).end());
    const std::vector<float> a = outputs(rounding), b = outputs(exact);
    EXPECT_LT(relative_error({of(a).begin(), of(a).end()}, expected), 3e-2) << n;
    EXPECT_LT(relative_error({of(b).begin(), of(b).end()}, expected), 1e-5) << n;
  }
}

// Networks are divided among threads, which help one another: none may begin what is not ready.
TEST(FeedForwardTest, ThreadsDoNotShow) {
  constexpr int64_t kHidden = 512, kInner = 256, kNetworks = 7, kRows = 12;
  Random random(9);
  const quant::Format format;  // f32
  std::vector<float> expected;
  const std::vector<float> x = random.normal(kRows * kHidden);
  const std::vector<float> weights = random.normal(3 * kNetworks * kInner * kHidden, 0.1f);
  for (const int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    CpuBackend backend(pool);
    std::vector<AlignedBuffer> prepared;
    const auto make = [&](int64_t rows, int64_t cols) {
      const float* source = weights.data() + prepared.size() * kInner * kHidden;
      prepared.emplace_back(backend.prepared_bytes(format, rows, cols));
      backend.prepare({format, rows, cols, reinterpret_cast<const std::byte*>(source)}, 0, rows,
                      prepared.back().data());
      return Matrix{format, rows, cols, prepared.back().data()};
    };
    std::vector<std::vector<int32_t>> rows(kNetworks);
    for (int n = 0; n < kNetworks; ++n) {
      for (int r = n % 3; r < kRows; r += 1 + n) rows[n].push_back(r);
    }
    std::vector<FeedForwardJob> jobs;
    std::vector<float> y(kNetworks * kRows * kHidden);
    for (int n = 0; n < kNetworks; ++n) {
      const FeedForward network{make(kInner, kHidden), make(kInner, kHidden),
                                make(kHidden, kInner)};
      jobs.push_back({network, rows[n], y.data() + n * kRows * kHidden});
    }
    for (int round = 0; round < (threads == 1 ? 1 : 100); ++round) {
      std::fill(y.begin(), y.end(), 0.0f);
      backend.feed_forward(x.data(), kHidden, jobs);
      if (expected.empty()) expected = y;
      ASSERT_EQ(y, expected) << threads << " threads";
    }
  }
}

}  // namespace
}  // namespace flashmoe::kernels

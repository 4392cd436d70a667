// What the cpu backend's rounding of activations to 8 bits costs, on the model in the repository,
// against ref; and that the bounds are tight enough to notice real defects.
#include <gtest/gtest.h>

#include <cstring>

#include "base/half.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/engine/forced_logits.h"

namespace flashmoe::engine {
namespace {

constexpr double kMedianError = 1.2e-2;  // relative, of a token's logits
constexpr double kMeanKl = 3e-5;         // nats

struct Cost {
  double median_error = 0;
  double mean_kl = 0;
  bool accepted() const { return median_error <= kMedianError && mean_kl <= kMeanKl; }
};

class AccuracyTest : public testing::Test {
 protected:
  static constexpr size_t kTokens = 512;

  static EngineOptions options(const char* backend) {
    EngineOptions o;
    o.model = std::string(FLASHMOE_SOURCE_DIR) + "/models/tiny";
    o.backend = backend;
    return o;
  }

  static void SetUpTestSuite() {
    ids_ = read_ids(std::string(FLASHMOE_SOURCE_DIR) + "/tests/golden/tiny_ids.txt");
    ids_.resize(kTokens);
    reference_ = forced_logits(options("ref"), ids_, kTokens);
  }

  static Cost cost(const OpenHooks& hooks = {}) {
    const Logits logits = forced_logits(options("cpu"), ids_, kTokens, hooks);
    Cost result;
    std::vector<double> errors;
    for (size_t i = 0; i < logits.rows(); ++i) {
      errors.push_back(relative_error(logits.row(i), reference_.row(i)));
      result.mean_kl += kl_divergence(logits.row(i), reference_.row(i)) / kTokens;
    }
    result.median_error = median(errors);
    RecordProperty("median_error", std::to_string(result.median_error));
    RecordProperty("mean_kl", std::to_string(result.mean_kl * 1e6) + "e-6");
    return result;
  }

  template <typename Defective>
  static Cost cost_of() {
    OpenHooks hooks;
    hooks.make_backend = [](ThreadPool& pool) { return std::make_unique<Defective>(pool); };
    return cost(hooks);
  }

  static std::vector<int32_t> ids_;
  static Logits reference_;
};

std::vector<int32_t> AccuracyTest::ids_;
Logits AccuracyTest::reference_;

TEST_F(AccuracyTest, CpuKeepsItsBounds) {
  const Cost c = cost();
  EXPECT_LE(c.median_error, kMedianError);
  EXPECT_LE(c.mean_kl, kMeanKl);
  EXPECT_GT(c.median_error, 0);  // the two backends are not the same code
}

// The least important of each token's experts is left out.
class DropsAnExpert : public kernels::CpuBackend {
 public:
  using CpuBackend::CpuBackend;
  void combine(const kernels::Route* routes, const float* y, int64_t rows, int k, int64_t hidden,
               const float* shared, const float* shared_gate, float* out) override {
    std::vector<kernels::Route> changed(routes, routes + rows * k);
    for (int64_t r = 0; r < rows; ++r) changed[static_cast<size_t>(r * k + k - 1)].weight = 0;
    CpuBackend::combine(changed.data(), y, rows, k, hidden, shared, shared_gate, out);
  }
};

TEST_F(AccuracyTest, NoticesADroppedExpert) { EXPECT_FALSE(cost_of<DropsAnExpert>().accepted()); }

// Every scale of the matrices of one shape is 2 % too large.
class ScalesOff : public kernels::CpuBackend {
 public:
  using CpuBackend::CpuBackend;
  void prepare(const kernels::FileMatrix& source, int64_t row_begin, int64_t rows,
               std::byte* destination) override {
    kernels::FileMatrix changed = source;
    std::vector<Bf16> scales;
    if (source.format.encoding == quant::Encoding::kAffine && source.rows == 256) {
      const size_t bytes =
          source.format.scale_bytes(source.cols) * static_cast<size_t>(source.rows);
      scales.resize(bytes / sizeof(Bf16));
      std::memcpy(scales.data(), source.scales, bytes);
      for (Bf16& s : scales) s = to_bf16(1.02f * to_float(s));
      changed.scales = reinterpret_cast<const std::byte*>(scales.data());
    }
    CpuBackend::prepare(changed, row_begin, rows, destination);
  }
};

TEST_F(AccuracyTest, NoticesScalesOffByTwoPercent) {
  EXPECT_FALSE(cost_of<ScalesOff>().accepted());
}

// Activations are rounded to 4 bits instead of 8, per group of 64.
class FourBitActivations : public kernels::CpuBackend {
 public:
  using CpuBackend::CpuBackend;

 protected:
  void load_operand(const float* x, int64_t index, const Operand& operand) const noexcept override {
    std::vector<float> rounded(x, x + operand.cols);
    for (int64_t begin = 0; begin < operand.cols; begin += 64) {
      const int64_t end = std::min(operand.cols, begin + 64);
      float largest = 0;
      for (int64_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(rounded[i]));
      const float step = largest / 7;
      for (int64_t i = begin; i < end && step > 0; ++i) {
        rounded[i] = std::nearbyint(rounded[i] / step) * step;
      }
    }
    CpuBackend::load_operand(rounded.data(), index, operand);
  }
};

TEST_F(AccuracyTest, NoticesFourBitActivations) {
  EXPECT_FALSE(cost_of<FourBitActivations>().accepted());
}

}  // namespace
}  // namespace flashmoe::engine

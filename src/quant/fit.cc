#include "quant/fit.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/half.h"
#include "quant/decode.h"
#include "quant/encode.h"

namespace flashmoe::quant {

namespace {

constexpr int kRounds = 6;
constexpr float kLeastScale = 1e-7f;

float rounded(DType type, float value) {
  switch (type) {
    case DType::kF16:
      return to_float(to_f16(value));
    case DType::kBf16:
      return to_float(to_bf16(value));
    default:
      return value;
  }
}

struct Line {
  float scale = kLeastScale, bias = 0;
};

// To nearest, ties to even, of a value from 0 to 255: written so that compilers make vectors of it.
inline float code_of(float weight, float bias, float inverse_scale, float max_code) {
  constexpr float kWhole = 12582912.0f;  // 1.5 * 2^23: floats this large have no fractions
  const float q = (weight - bias) * inverse_scale;
  return ((q < 0 ? 0 : q > max_code ? max_code : q) + kWhole) - kWhole;
}

// Sums in this many chains, for vectors; n is a multiple of it.
constexpr int kChains = 8;
struct Chains {
  float values[kChains] = {};
  float sum() const {
    float total = 0;
    for (const float v : values) total += v;
    return total;
  }
};

// The line of least cost for the codes that `line` gives. False, and nothing changed, when all are
// alike.
bool refit(const float* w, const float* d, int n, float max_code, Line* line) {
  const float inverse = 1 / line->scale;
  Chains one, q1, qq, w1, wq;
  for (int i = 0; i < n; i += kChains) {
    for (int c = 0; c < kChains; ++c) {
      const float q = code_of(w[i + c], line->bias, inverse, max_code);
      const float dq = d[i + c] * q, dw = d[i + c] * w[i + c];
      one.values[c] += d[i + c];
      q1.values[c] += dq;
      qq.values[c] += dq * q;
      w1.values[c] += dw;
      wq.values[c] += dw * q;
    }
  }
  const float sum = one.sum(), sum_q = q1.sum(), sum_qq = qq.sum(), sum_w = w1.sum();
  const float determinant = sum * sum_qq - sum_q * sum_q;
  if (determinant <= 1e-6f * sum * sum_qq) return false;
  const float scale = (sum * wq.sum() - sum_q * sum_w) / determinant;
  if (!(scale > kLeastScale)) return false;
  *line = {scale, (sum_w - scale * sum_q) / sum};
  return true;
}

float line_cost(const float* w, const float* d, int n, float max_code, const Line& line) {
  const float inverse = 1 / line.scale;
  Chains cost;
  for (int i = 0; i < n; i += kChains) {
    for (int c = 0; c < kChains; ++c) {
      const float q = code_of(w[i + c], line.bias, inverse, max_code);
      const float error = w[i + c] - (q * line.scale + line.bias);
      cost.values[c] += d[i + c] * error * error;
    }
  }
  return cost.sum();
}

// y [n] += a * x
inline void add_scaled(float a, const float* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] += a * x[i];
}

// H⁻¹ = Uᵀ U with U upper triangular, in place of H [n, n]; then U's rows over their diagonals.
// In double: H is often near singular.
std::vector<float> feedback_of(const std::vector<float>& moments, int64_t n) {
  const auto at = [n](int64_t i, int64_t j) { return static_cast<size_t>(i * n + j); };
  // With the order of rows and columns turned around, H = Lᵣ Lᵣᵀ gives H = R Rᵀ with R upper
  // triangular, so that U = R⁻¹.
  std::vector<double> r(static_cast<size_t>(n * n));
  for (int64_t j = n - 1; j >= 0; --j) {
    double sum = moments[at(j, j)];
    for (int64_t k = j + 1; k < n; ++k) sum -= r[at(j, k)] * r[at(j, k)];
    // What rounding leaves of a pivot that is nearly 0.
    r[at(j, j)] = std::sqrt(std::max(sum, 1e-10 * moments[at(j, j)]));
    for (int64_t i = 0; i < j; ++i) {
      double dot = moments[at(i, j)];
      const double *ri = &r[at(i, 0)], *rj = &r[at(j, 0)];
      for (int64_t k = j + 1; k < n; ++k) dot -= ri[k] * rj[k];
      r[at(i, j)] = dot / r[at(j, j)];
    }
  }
  // U = R⁻¹: row i of U solves u R = e_i, from left to right.
  std::vector<float> feedback(static_cast<size_t>(n * n));
  std::vector<double> u(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    std::fill(u.begin(), u.end(), 0.0);
    u[static_cast<size_t>(i)] = 1;  // the right side; solved in place
    for (int64_t j = i; j < n; ++j) {
      double& value = u[static_cast<size_t>(j)];
      value /= r[at(j, j)];
      const double v = value;
      const double* rj = &r[at(j, 0)];
      for (int64_t k = j + 1; k < n; ++k) u[static_cast<size_t>(k)] -= v * rj[k];
    }
    const double own = u[static_cast<size_t>(i)];
    for (int64_t j = i; j < n; ++j) {
      feedback[at(i, j)] = static_cast<float>(u[static_cast<size_t>(j)] / own);
    }
  }
  return feedback;
}

}  // namespace

// A row being fitted.
struct RowFitter::Row {
  const float* weights;               // [cols]
  std::vector<float> codes;           // [cols], whole numbers
  std::vector<float> scales, biases;  // [groups]
  std::vector<float> values;          // [cols]: what codes, scales and biases stand for
  std::vector<float> residual;        // [cols]: H (values - weights)
};

RowFitter::RowFitter(const Format& format, int64_t cols, std::span<const float> squares,
                     std::span<const float> moments, float damping)
    : format_(format),
      cols_(cols),
      max_code_(static_cast<float>((1 << format.bits) - 1)),
      diagonal_(static_cast<size_t>(cols), 1.0f) {
  CHECK(format.encoding == Encoding::kAffine && cols % format.group == 0);
  const auto n = static_cast<size_t>(cols);
  CHECK(squares.empty() || squares.size() == n);
  CHECK(moments.empty() || moments.size() == n * n);
  if (!squares.empty()) {
    std::copy(squares.begin(), squares.end(), diagonal_.begin());
  } else if (!moments.empty()) {
    for (size_t i = 0; i < n; ++i) diagonal_[i] = moments[i * n + i];
  }
  double mean = 0;
  for (const float d : diagonal_) mean += d / static_cast<double>(n);
  if (!(mean > 0) || !std::isfinite(mean)) {  // no input was ever seen
    std::fill(diagonal_.begin(), diagonal_.end(), 1.0f);
    return;
  }
  const auto added = static_cast<float>(damping * mean);
  if (!moments.empty()) {
    std::vector<float> factor(n);
    for (size_t i = 0; i < n; ++i) {
      const float own = moments[i * n + i];
      factor[i] = own > 0 ? std::sqrt(diagonal_[i] / own) : 0;
    }
    moments_.resize(n * n);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j)
        moments_[i * n + j] = moments[i * n + j] * factor[i] * factor[j];
      moments_[i * n + i] += added;
    }
  }
  for (size_t i = 0; i < n; ++i) {
    diagonal_[i] = moments_.empty() ? diagonal_[i] + added : moments_[i * n + i];
  }
  if (moments_.empty()) return;
  feedback_ = feedback_of(moments_, cols);
  group_sums_.resize(n * n / static_cast<size_t>(format.group));
  for (size_t i = 0; i < n; ++i) {
    add_scaled(1, &moments_[i * n], cols, &group_sums_[i / static_cast<size_t>(format.group) * n]);
  }
}

double RowFitter::cost(std::span<const float> difference) const {
  double total = 0;
  for (size_t i = 0; i < difference.size(); ++i) {
    if (moments_.empty()) {
      total += double{diagonal_[i]} * difference[i] * difference[i];
      continue;
    }
    const float* row = &moments_[i * difference.size()];
    double sum = 0;
    for (size_t j = 0; j < difference.size(); ++j) sum += double{row[j]} * difference[j];
    total += sum * difference[i];
  }
  return total;
}

void RowFitter::choose_ranges(Row* row) const {
  const int group = format_.group;
  // Both ends of the range are moved in on their own, by this share of it each time.
  const int steps = format_.bits <= 3 ? 8 : format_.bits == 4 ? 5 : 3;
  const float step = format_.bits <= 3 ? 0.04f : format_.bits == 4 ? 0.02f : 0.005f;
  for (int64_t g = 0; g < cols_ / group; ++g) {
    const float* w = row->weights + g * group;
    const float* d = diagonal_.data() + g * group;
    const auto [low, high] = std::minmax_element(w, w + group);
    const float range = *high - *low;
    float best_cost = std::numeric_limits<float>::infinity();
    Line best;
    for (int a = 0; a < steps; ++a) {
      for (int b = 0; b < steps; ++b) {
        const float bias = *low + range * step * static_cast<float>(a);
        const float top = *high - range * step * static_cast<float>(b);
        Line line = {std::max((top - bias) / max_code_, kLeastScale), bias};
        for (int round = 0; round < 2; ++round) {
          if (!refit(w, d, group, max_code_, &line)) break;
        }
        const float cost = line_cost(w, d, group, max_code_, line);
        if (cost >= best_cost) continue;
        best_cost = cost;
        best = line;
      }
    }
    row->scales[static_cast<size_t>(g)] = best.scale;
    row->biases[static_cast<size_t>(g)] = best.bias;
    for (int i = 0; i < group; ++i) {
      row->codes[static_cast<size_t>(g * group + i)] =
          code_of(w[i], best.bias, 1 / best.scale, max_code_);
    }
  }
}

void RowFitter::propagate_errors(Row* row) const {
  std::vector<float> w(row->weights, row->weights + cols_);
  for (int64_t j = 0; j < cols_; ++j) {
    const auto at = static_cast<size_t>(j), g = static_cast<size_t>(j / format_.group);
    const float scale = row->scales[g], bias = row->biases[g];
    const float q = code_of(w[at], bias, 1 / scale, max_code_);
    row->codes[at] = q;
    add_scaled(q * scale + bias - w[at], &feedback_[static_cast<size_t>(j * cols_ + j + 1)],
               cols_ - j - 1, w.data() + j + 1);
  }
}

// values and residual, from codes, scales and biases.
void RowFitter::evaluate(Row* row) const {
  const auto group = static_cast<size_t>(format_.group);
  std::fill(row->residual.begin(), row->residual.end(), 0.0f);
  for (size_t j = 0; j < row->codes.size(); ++j) {
    row->values[j] = row->codes[j] * row->scales[j / group] + row->biases[j / group];
    const float difference = row->values[j] - row->weights[j];
    if (moments_.empty()) {
      row->residual[j] = diagonal_[j] * difference;
    } else {
      add_scaled(difference, &moments_[j * row->codes.size()], cols_, row->residual.data());
    }
  }
}

// Group by group: with r = H (q - w) and C the group's codes, the change (ds, db) of least cost
// solves [CᵀHC, CᵀH1; ., 1ᵀH1] (ds, db) = -(Cᵀr, 1ᵀr). Leaves `values` as they are.
void RowFitter::refit_scales(Row* row) const {
  std::vector<float>& r = row->residual;
  const auto group = static_cast<size_t>(format_.group);
  std::vector<float> hc(r.size());
  for (size_t g = 0; g < row->scales.size(); ++g) {
    const size_t begin = g * group;
    const float* codes = row->codes.data() + begin;
    std::fill(hc.begin(), hc.end(), 0.0f);
    const float* h1 = &group_sums_[g * r.size()];
    for (size_t i = 0; i < group; ++i) {
      add_scaled(codes[i], &moments_[(begin + i) * r.size()], cols_, hc.data());
    }
    double cc = 0, c1 = 0, one = 0, cr = 0, r1 = 0;
    for (size_t i = 0; i < group; ++i) {
      cc += double{hc[begin + i]} * codes[i];
      c1 += hc[begin + i];
      one += h1[begin + i];
      cr += double{r[begin + i]} * codes[i];
      r1 += r[begin + i];
    }
    const double determinant = cc * one - c1 * c1;
    if (determinant <= 1e-9 * cc * one) continue;  // all codes alike
    const auto ds = static_cast<float>(-(one * cr - c1 * r1) / determinant);
    const auto db = static_cast<float>(-(cc * r1 - c1 * cr) / determinant);
    if (row->scales[g] + ds < kLeastScale) continue;
    row->scales[g] += ds;
    row->biases[g] += db;
    add_scaled(ds, hc.data(), cols_, r.data());
    add_scaled(db, h1, cols_, r.data());
  }
}

void RowFitter::improve_codes(Row* row) const {
  const auto group = static_cast<size_t>(format_.group);
  for (size_t j = 0; j < row->codes.size(); ++j) {
    const float scale = row->scales[j / group], bias = row->biases[j / group];
    const float now = row->codes[j] * scale + bias;
    const float wanted = now - row->residual[j] / diagonal_[j];
    const float q = code_of(wanted, bias, 1 / scale, max_code_);
    if (q == row->codes[j]) continue;
    row->codes[j] = q;
    if (moments_.empty()) continue;  // columns do not touch each other
    add_scaled(q * scale + bias - now, &moments_[j * row->codes.size()], cols_,
               row->residual.data());
  }
}

void RowFitter::round_scales(Row* row) const {
  for (float& scale : row->scales) scale = rounded(format_.dtype, scale);
  for (float& bias : row->biases) bias = rounded(format_.dtype, bias);
}

void RowFitter::encode_row(const float* weights, std::byte* codes, std::byte* scales,
                           std::byte* biases) const {
  const auto n = static_cast<size_t>(cols_), groups = n / static_cast<size_t>(format_.group);
  const auto difference = [&](const std::vector<float>& values) {
    std::vector<float> d(n);
    for (size_t i = 0; i < n; ++i) d[i] = values[i] - weights[i];
    return d;
  };
  // The plain rounding: what has to be beaten.
  quant::encode_row(format_, cols_, weights, codes, scales, biases);
  std::vector<float> plain(n);
  decode_row(format_, cols_, codes, scales, biases, plain.data());
  const double plain_cost = cost(difference(plain));

  Row row{weights,
          std::vector<float>(n),
          std::vector<float>(groups),
          std::vector<float>(groups),
          std::vector<float>(n),
          std::vector<float>(n)};
  choose_ranges(&row);
  if (!moments_.empty()) {
    propagate_errors(&row);
    evaluate(&row);
    for (int round = 0; round < kRounds; ++round) {
      refit_scales(&row);
      improve_codes(&row);
    }
  }
  round_scales(&row);
  evaluate(&row);
  improve_codes(&row);
  evaluate(&row);
  if (cost(difference(row.values)) < plain_cost) {
    store_affine_row(format_, cols_, row.codes.data(), row.scales.data(), row.biases.data(), codes,
                     scales, biases);
  }
}

}  // namespace flashmoe::quant

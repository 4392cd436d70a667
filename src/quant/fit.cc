#include "quant/fit.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/half.h"
#include "quant/decode.h"
#include "quant/encode.h"

namespace flashmoe::quant {

namespace {

constexpr int kRounds = 6;

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

// To nearest, ties to even, of a value from 0 to 255.
inline float code_of(float weight, float bias, float inverse_scale, float max_code) {
  constexpr float kWhole = 12582912.0f;  // 1.5 * 2^23: floats this large have no fractions
  const float q = (weight - bias) * inverse_scale;
  return ((q < 0 ? 0 : q > max_code ? max_code : q) + kWhole) - kWhole;
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
                     std::span<const float> moments, float damping, const GroupLoops& loops)
    : format_(format),
      cols_(cols),
      loops_(loops),
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
    loops_.add_scaled(1, &moments_[i * n], cols,
                      &group_sums_[i / static_cast<size_t>(format.group) * n]);
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
  constexpr int kMostLines = 64;
  float scales[kMostLines], biases[kMostLines], costs[kMostLines];
  for (int64_t g = 0; g < cols_ / group; ++g) {
    const float* w = row->weights + g * group;
    const float* d = diagonal_.data() + g * group;
    const auto [low, high] = loops_.range(w, group);
    const float range = high - low;
    int lines = 0;
    for (int a = 0; a < steps; ++a) {
      for (int b = 0; b < steps; ++b, ++lines) {
        const float bias = low + range * step * static_cast<float>(a);
        const float top = high - range * step * static_cast<float>(b);
        scales[lines] = std::max((top - bias) / max_code_, kLeastScale);
        biases[lines] = bias;
      }
    }
    const int padded = (lines + 7) / 8 * 8;
    std::fill(scales + lines, scales + padded, scales[0]);
    std::fill(biases + lines, biases + padded, biases[0]);
    loops_.refit(w, d, group, max_code_, padded, scales, biases, costs);
    const auto best = static_cast<size_t>(std::min_element(costs, costs + lines) - costs);
    const auto at = static_cast<size_t>(g);
    row->scales[at] = scales[best];
    row->biases[at] = biases[best];
    loops_.multiply(w, group, max_code_, {scales[best], biases[best]},
                    row->codes.data() + g * group);
  }
}

void RowFitter::propagate_errors(Row* row) const {
  std::vector<float> w(row->weights, row->weights + cols_);
  for (int64_t j = 0; j < cols_; ++j) {
    const auto at = static_cast<size_t>(j), g = static_cast<size_t>(j / format_.group);
    const float scale = row->scales[g], bias = row->biases[g];
    const float q = code_of(w[at], bias, 1 / scale, max_code_);
    row->codes[at] = q;
    loops_.add_scaled(q * scale + bias - w[at], &feedback_[static_cast<size_t>(j * cols_ + j + 1)],
                      cols_ - j - 1, w.data() + j + 1);
  }
}

// values and residual, from codes, scales and biases.
void RowFitter::evaluate(Row* row) const {
  const auto n = row->codes.size(), group = static_cast<size_t>(format_.group);
  for (size_t begin = 0; begin < n; begin += group) {
    const float scale = row->scales[begin / group], bias = row->biases[begin / group];
    for (size_t j = begin; j < begin + group; ++j) row->values[j] = row->codes[j] * scale + bias;
  }
  if (moments_.empty()) {
    for (size_t j = 0; j < n; ++j) {
      row->residual[j] = diagonal_[j] * (row->values[j] - row->weights[j]);
    }
    return;
  }
  std::fill(row->residual.begin(), row->residual.end(), 0.0f);
  for (size_t j = 0; j < n; ++j) {
    loops_.add_scaled(row->values[j] - row->weights[j], &moments_[j * n], cols_,
                      row->residual.data());
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
      loops_.add_scaled(codes[i], &moments_[(begin + i) * r.size()], cols_, hc.data());
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
    loops_.add_scaled(ds, hc.data(), cols_, r.data());
    loops_.add_scaled(db, h1, cols_, r.data());
  }
}

void RowFitter::improve_codes(Row* row) const {
  const auto n = row->codes.size(), group = static_cast<size_t>(format_.group);
  for (size_t begin = 0; begin < n; begin += group) {
    const float scale = row->scales[begin / group], bias = row->biases[begin / group];
    const float inverse = 1 / scale;
    for (size_t j = begin; j < begin + group; ++j) {
      const float now = row->codes[j] * scale + bias;
      const float wanted = now - row->residual[j] / diagonal_[j];
      const float q = code_of(wanted, bias, inverse, max_code_);
      if (q == row->codes[j]) continue;
      row->codes[j] = q;
      if (moments_.empty()) continue;  // columns do not touch each other
      loops_.add_scaled(q * scale + bias - now, &moments_[j * n], cols_, row->residual.data());
    }
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
  quant::encode_row(format_, cols_, weights, codes, scales, biases, loops_);
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

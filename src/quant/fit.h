// Affine quantisation by least squares: codes, scales and biases of a row chosen so that what the
// matrix gives for typical inputs changes least. Owns the search; what may be chosen freely by
// smallest and largest weight alone lies in quant/encode.h.
//
// The cost of storing w as q is (w - q)ᵀ H (w - q), with H the mean products of the inputs: the
// mean square of the error of the output. Only their mean squares known: H is diagonal. Nothing
// known: 1.
//   1. Per group: of many ranges, each with the codes it gives and the scale and bias of least cost
//      for these codes (two rounds), the one of least cost in H's diagonal.
//   2. With H: codes column by column, each one's error made up for by the columns to come, as in
//      GPTQ (Frantar et al. 2022), but with the scales of step 1.
//   3. With H, a few rounds: scale and bias of each group for its codes and all else fixed, then
//   the
//      best code of each column for all else fixed. No step raises the cost.
//   4. Scale and bias are rounded to their type, and codes improved once more.
// The result never costs more than what encode_row of quant/encode.h gives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quant/format.h"
#include "quant/group_loops.h"

namespace flashmoe::quant {

// For the rows of one matrix. Const after construction: rows may be fitted on many threads.
class RowFitter {
 public:
  // Of H's mean diagonal, what is added to its diagonal: columns that hardly saw an input keep some
  // worth, and H can be inverted.
  static constexpr float kDamping = 0.01f;

  // squares [cols], the inputs' mean squares, or empty; moments [cols, cols], their mean products,
  // or empty. Where both are given, moments are scaled so that their diagonal is `squares`.
  RowFitter(const Format& format, int64_t cols, std::span<const float> squares,
            std::span<const float> moments, float damping = kDamping,
            const GroupLoops& loops = kPlainGroupLoops);

  // As quant/encode.h's encode_row: weights [cols] to codes, scales and biases.
  void encode_row(const float* weights, std::byte* codes, std::byte* scales,
                  std::byte* biases) const;

  // (w - q)ᵀ H (w - q) for difference [cols].
  double cost(std::span<const float> difference) const;

 private:
  struct Row;

  void choose_ranges(Row* row) const;
  void propagate_errors(Row* row) const;
  void evaluate(Row* row) const;
  void refit_scales(Row* row) const;
  void improve_codes(Row* row) const;
  void round_scales(Row* row) const;

  Format format_;
  int64_t cols_;
  const GroupLoops& loops_;
  float max_code_;
  std::vector<float> diagonal_;  // [cols], > 0
  std::vector<float> moments_;   // [cols, cols] or empty
  // U of H⁻¹ = Uᵀ U, each row over its diagonal, [cols, cols] or empty.
  std::vector<float> feedback_;
  std::vector<float> group_sums_;  // [groups, cols] or empty: of the rows of H of each group
};

}  // namespace flashmoe::quant

// MLX's quantisation: X.weight (U32 codes) and X.scales, with X.biases if it is affine, or of small
// floats (mxfp4, mxfp8, nvfp4) with scales of one byte and perhaps an X.global_scale.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "format/matrix_tensors.h"

namespace flashmoe::format {

namespace {

using quant::DType;

constexpr int kAffineBits[] = {2, 3, 4, 5, 6, 8};
constexpr int kAffineGroups[] = {32, 64, 128};

// The modes of small floats; each has its own number of words of codes to a scale.
struct FloatsMode {
  const char* name;
  int bits;
  int group;
  DType scales;
};
constexpr FloatsMode kFloatsModes[] = {
    {"mxfp4", 4, 32, DType::kF8E8M0},
    {"mxfp8", 8, 32, DType::kF8E8M0},
    {"nvfp4", 4, 16, DType::kF8E4M3},
};

template <size_t N>
bool contains(const int (&values)[N], int value) {
  return std::find(values, values + N, value) != values + N;
}

struct Affine {
  int bits = 0;
  int group = 0;
};

class MlxResolver {
 public:
  MlxResolver(const MatrixTensors& tensors, const TensorInfo& weight, const TensorInfo& scales)
      : tensors_(tensors), weight_(weight), scales_(scales) {}

  MatrixInfo resolve() const {
    const TensorInfo* biases = tensors_.part(".biases");
    const std::string mode = stated_mode(biases);
    if (weight_.dtype != DType::kU32) {
      tensors_.fail(ErrorCode::kCorrupt, weight_,
                    fmt::format("{} has scales, so its codes should be U32", shape_text(weight_)));
    }
    if (mode == "affine" && (biases != nullptr || scales_.dtype != DType::kU8)) {
      return affine(biases);
    }
    return floats(mode, biases);
  }

 private:
  // A path's own entry without mode is affine even under another global one. Without an entry the
  // biases tell, which only affine has.
  std::string stated_mode(const TensorInfo* biases) const {
    const QuantizationConfig& config = tensors_.quantization();
    if (const QuantizationEntry* own = config.find_override(tensors_.prefix())) return own->mode;
    return biases == nullptr && config.global ? config.global->mode : "affine";
  }

  void check_neighbours(const TensorInfo& part) const {
    if (part.slice_stride != weight_.slice_stride) {
      tensors_.fail(ErrorCode::kCorrupt, weight_, "its scales or biases lie in other records");
    }
  }

  // The matrix but for its format; the scales' shape is checked.
  MatrixInfo start() const {
    MatrixInfo matrix = tensors_.start(weight_);
    check_neighbours(scales_);
    if (scales_.shape.size() != weight_.shape.size() || scales_.shape.back() == 0 ||
        scales_.shape.back() > kMaxCols ||
        !std::equal(weight_.shape.begin(), weight_.shape.end() - 1, scales_.shape.begin())) {
      tensors_.fail(ErrorCode::kCorrupt, scales_,
                    fmt::format("{} does not fit {}.weight, which is {}", shape_text(scales_),
                                tensors_.prefix(), shape_text(weight_)));
    }
    matrix.add_part(&MatrixInfo::codes, weight_);
    matrix.add_part(&MatrixInfo::scales, scales_);
    return matrix;
  }

  MatrixInfo affine(const TensorInfo* biases) const {
    if (biases == nullptr) {
      tensors_.fail(ErrorCode::kCorrupt, scales_,
                    fmt::format("there is no {}.biases beside it", tensors_.prefix()));
    }
    if (!is_float(scales_.dtype)) {
      tensors_.refuse(scales_, fmt::format("scales of type {}", scales_.dtype_name));
    }
    if (biases->dtype != scales_.dtype || biases->shape != scales_.shape) {
      tensors_.fail(ErrorCode::kCorrupt, *biases,
                    fmt::format("{} should be as {}.scales, which is {}", shape_text(*biases),
                                tensors_.prefix(), shape_text(scales_)));
    }
    check_neighbours(*biases);
    MatrixInfo matrix = start();
    matrix.add_part(&MatrixInfo::biases, *biases);
    const Affine choice = choose();
    matrix.cols = scales_.shape.back() * choice.group;
    matrix.format = {quant::Encoding::kAffine, scales_.dtype, choice.bits, choice.group};
    return matrix;
  }

  MatrixInfo floats(const std::string& stated, const TensorInfo* biases) const {
    const auto* mode =
        std::find_if(std::begin(kFloatsModes), std::end(kFloatsModes), [&](const FloatsMode& m) {
          return weight_.shape.back() * 32 == scales_.shape.back() * m.group * m.bits;
        });
    const bool known = std::any_of(std::begin(kFloatsModes), std::end(kFloatsModes),
                                   [&](const FloatsMode& m) { return stated == m.name; });
    if (stated != "affine" && !known) {
      tensors_.refuse(weight_, fmt::format("its quantisation {}", stated));
    }
    MatrixInfo matrix = start();
    if (mode == std::end(kFloatsModes) || biases != nullptr || scales_.dtype != DType::kU8 ||
        (stated != mode->name && stated != "affine")) {
      tensors_.fail(
          ErrorCode::kCorrupt, weight_,
          fmt::format("{} with scales {}{} is not what config.json says: {}", shape_text(weight_),
                      shape_text(scales_), biases != nullptr ? " and biases" : "", stated));
    }
    matrix.cols = scales_.shape.back() * mode->group;
    matrix.format = {quant::Encoding::kFloats, mode->scales, mode->bits, mode->group};
    if (const TensorInfo* global = tensors_.part(".global_scale")) {
      add_global_scale(*global, &matrix);
    }
    return matrix;
  }

  // One factor for each matrix of a stack.
  void add_global_scale(const TensorInfo& global, MatrixInfo* matrix) const {
    int64_t count = 1;
    for (int64_t n : global.shape) count = n == 0 || count > matrix->count ? 0 : count * n;
    if (global.dtype != DType::kF32 || count != matrix->count ||
        matrix->format.dtype != DType::kF8E4M3 || global.slice_stride != weight_.slice_stride) {
      tensors_.refuse(global,
                      fmt::format("a global scale {} of {} matrices in {}", shape_text(global),
                                  matrix->count, matrix->format.name()));
    }
    matrix->storage.kind = quant::Storage::Kind::kTwoScales;
    matrix->storage.group = matrix->format.group;
    matrix->format.dtype = DType::kF32;
    matrix->add_part(&MatrixInfo::biases, global);
  }

  // Bits and group. A row has `words` 32-bit words of codes and `groups` scales, so
  // 32 * words = cols * bits and cols = groups * group.
  Affine choose() const {
    const int64_t words = weight_.shape.back();
    const int64_t groups = scales_.shape.back();
    const std::optional<int64_t> expected = tensors_.expected_cols();
    std::vector<Affine> fitting;
    for (int bits : kAffineBits) {
      for (int group : kAffineGroups) {
        const int64_t cols = groups * group;
        if (words * 32 == cols * bits && cols == expected.value_or(cols)) {
          fitting.push_back({bits, group});
        }
      }
    }
    const std::string shapes =
        fmt::format("{} with scales {}", shape_text(weight_), shape_text(scales_));
    const QuantizationConfig& config = tensors_.quantization();
    const QuantizationEntry* own = config.find_override(tensors_.prefix());
    std::vector<Affine> choices;
    if (own != nullptr) {
      check_supported(*own);
      choices = agreeing(fitting, *own);
      if (choices.empty()) {
        tensors_.fail(ErrorCode::kCorrupt, weight_,
                      fmt::format("{} is not what config.json says: {} bits in groups of {}",
                                  shapes, own->bits, own->group));
      }
    } else {
      if (config.global) choices = agreeing(fitting, *config.global);
      if (choices.empty()) choices = fitting;
      if (choices.empty()) {
        tensors_.refuse(
            weight_,
            fmt::format("{}{}", shapes, expected ? fmt::format(" and {} inputs", *expected) : ""));
      }
    }
    if (choices.size() > 1) {
      tensors_.fail(ErrorCode::kCorrupt, weight_,
                    fmt::format("{} fits several quantisations; say which by its bits and "
                                "group_size in config.json's quantization",
                                shapes));
    }
    return choices.front();
  }

  void check_supported(const QuantizationEntry& entry) const {
    if ((entry.bits != 0 && !contains(kAffineBits, entry.bits)) ||
        (entry.group != 0 && !contains(kAffineGroups, entry.group))) {
      tensors_.refuse(weight_, fmt::format("its quantisation to {} bits in groups of {}",
                                           entry.bits, entry.group));
    }
  }

  static std::vector<Affine> agreeing(const std::vector<Affine>& fitting,
                                      const QuantizationEntry& entry) {
    std::vector<Affine> result;
    for (const Affine& a : fitting) {
      if ((entry.bits == 0 || a.bits == entry.bits) &&
          (entry.group == 0 || a.group == entry.group)) {
        result.push_back(a);
      }
    }
    return result;
  }

  const MatrixTensors& tensors_;
  const TensorInfo& weight_;
  const TensorInfo& scales_;
};

}  // namespace

MatrixInfo resolve_mlx(const MatrixTensors& tensors, const TensorInfo& weight,
                       const TensorInfo& scales) {
  return MlxResolver(tensors, weight, scales).resolve();
}

}  // namespace flashmoe::format

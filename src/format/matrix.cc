#include "format/matrix.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"

namespace flashmoe::format {

namespace {

using quant::DType;

constexpr int kAffineBits[] = {2, 3, 4, 5, 6, 8};
constexpr int kAffineGroups[] = {32, 64, 128};
constexpr int64_t kMaxCols = int64_t{1} << 40;  // keeps products of sizes within int64_t
constexpr const char* kSupported =
    "supported are F32, F16, BF16 and MLX affine with 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 "
    "or 128";

template <size_t N>
bool contains(const int (&values)[N], int value) {
  return std::find(values, values + N, value) != values + N;
}

bool is_float(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBf16;
}

std::string shape_text(const TensorInfo& tensor) {
  return fmt::format("{} [{}]", tensor.dtype_name, fmt::join(tensor.shape, ", "));
}

struct Affine {
  int bits = 0;
  int group = 0;
};

class MatrixResolver {
 public:
  MatrixResolver(const Checkpoint& checkpoint, const QuantizationConfig& quantization,
                 std::string_view prefix, std::optional<int64_t> expected_cols)
      : checkpoint_(checkpoint),
        quantization_(quantization),
        prefix_(prefix),
        expected_cols_(expected_cols) {}

  std::optional<MatrixInfo> resolve() const {
    const TensorInfo* weight = part(".weight");
    if (weight == nullptr) weight = part("");
    if (weight == nullptr) {
      refuse_foreign_packing();
      return std::nullopt;
    }
    const TensorInfo* scales = part(".scales");
    MatrixInfo matrix = scales == nullptr ? plain(*weight) : affine(*weight, *scales);
    if (expected_cols_ && matrix.cols != *expected_cols_) {
      fail(ErrorCode::kCorrupt, *weight,
           fmt::format("{} has {} inputs, but config.json calls for {}", shape_text(*weight),
                       matrix.cols, *expected_cols_));
    }
    return matrix;
  }

 private:
  const TensorInfo* part(const char* suffix) const { return checkpoint_.find(prefix_ + suffix); }

  [[noreturn]] void fail(ErrorCode code, const TensorInfo& tensor, const std::string& what) const {
    const auto file = static_cast<size_t>(tensor.extent.file);
    throw_error(code, "{}: tensor {}: {}", checkpoint_.files()[file], tensor.name, what);
  }

  // " (quant_method fp8)" where config.json names another tool's method.
  std::string method_text() const {
    if (quantization_.method.empty()) return "";
    return fmt::format(" (quant_method {})", quantization_.method);
  }

  // GPTQ, AWQ and compressed-tensors name their packed codes differently.
  void refuse_foreign_packing() const {
    for (const char* suffix : {".qweight", ".weight_packed"}) {
      if (const TensorInfo* tensor = part(suffix)) {
        fail(ErrorCode::kUnsupported, *tensor,
             fmt::format("its quantisation{} is not supported; {}", method_text(), kSupported));
      }
    }
  }

  // Name and leading shape of a matrix whose rows are in `weight`.
  MatrixInfo start(const TensorInfo& weight) const {
    if (weight.shape.size() < 2) {
      fail(ErrorCode::kCorrupt, weight,
           fmt::format("{} is not a matrix, which has 2 dimensions or more", shape_text(weight)));
    }
    if (std::find(weight.shape.begin(), weight.shape.end(), 0) != weight.shape.end()) {
      fail(ErrorCode::kCorrupt, weight, fmt::format("{} is empty", shape_text(weight)));
    }
    if (weight.shape.back() > kMaxCols) {
      fail(ErrorCode::kCorrupt, weight, fmt::format("{} is too wide", shape_text(weight)));
    }
    MatrixInfo matrix;
    matrix.name = prefix_;
    for (size_t i = 0; i + 2 < weight.shape.size(); ++i) matrix.count *= weight.shape[i];
    matrix.rows = weight.shape[weight.shape.size() - 2];
    matrix.codes = weight.extent;
    matrix.stride = weight.slice_stride;
    return matrix;
  }

  MatrixInfo plain(const TensorInfo& weight) const {
    const bool scaled = part(".weight_scale") != nullptr || part(".weight_scale_inv") != nullptr ||
                        part("_scale_inv") != nullptr;
    if (!is_float(weight.dtype) || scaled) {
      fail(ErrorCode::kUnsupported, weight,
           fmt::format("its type {}{}{} is not supported; {}", weight.dtype_name,
                       scaled ? " with separate scales" : "", method_text(), kSupported));
    }
    MatrixInfo matrix = start(weight);
    matrix.cols = weight.shape.back();
    matrix.format = {quant::Encoding::kPlain, weight.dtype, 0, 0};
    return matrix;
  }

  MatrixInfo affine(const TensorInfo& weight, const TensorInfo& scales) const {
    const TensorInfo* biases = part(".biases");
    check_mode(weight, scales, biases);
    if (biases == nullptr) {
      fail(ErrorCode::kCorrupt, scales, fmt::format("there is no {}.biases beside it", prefix_));
    }
    if (weight.dtype != DType::kU32) {
      fail(ErrorCode::kCorrupt, weight,
           fmt::format("{} has scales, so its codes should be U32", shape_text(weight)));
    }
    if (!is_float(scales.dtype)) {
      fail(ErrorCode::kUnsupported, scales,
           fmt::format("scales of type {} are not supported; {}", scales.dtype_name, kSupported));
    }
    if (biases->dtype != scales.dtype || biases->shape != scales.shape) {
      fail(ErrorCode::kCorrupt, *biases,
           fmt::format("{} should be as {}.scales, which is {}", shape_text(*biases), prefix_,
                       shape_text(scales)));
    }
    if (scales.slice_stride != weight.slice_stride || biases->slice_stride != weight.slice_stride) {
      fail(ErrorCode::kCorrupt, weight, "its scales or biases lie in other records");
    }
    MatrixInfo matrix = start(weight);
    if (scales.shape.size() != weight.shape.size() || scales.shape.back() == 0 ||
        scales.shape.back() > kMaxCols ||
        !std::equal(weight.shape.begin(), weight.shape.end() - 1, scales.shape.begin())) {
      fail(ErrorCode::kCorrupt, scales,
           fmt::format("{} does not fit {}.weight, which is {}", shape_text(scales), prefix_,
                       shape_text(weight)));
    }
    const Affine choice = choose(weight, scales);
    matrix.cols = scales.shape.back() * choice.group;
    matrix.format = {quant::Encoding::kAffine, scales.dtype, choice.bits, choice.group};
    matrix.scales = scales.extent;
    matrix.biases = biases->extent;
    return matrix;
  }

  // A path's own entry without mode is affine even under another global one. Without an entry the
  // biases tell, which only affine has.
  void check_mode(const TensorInfo& weight, const TensorInfo& scales,
                  const TensorInfo* biases) const {
    std::string mode = "affine";
    if (const QuantizationEntry* own = quantization_.find_override(prefix_)) {
      mode = own->mode;
    } else if (biases == nullptr && quantization_.global) {
      mode = quantization_.global->mode;
    }
    if (mode == "affine" && biases == nullptr && scales.dtype == DType::kU8) {
      mode = "without biases";
    }
    if (mode != "affine") {
      fail(ErrorCode::kUnsupported, weight,
           fmt::format("its quantisation {}{} is not supported; {}", mode, method_text(),
                       kSupported));
    }
  }

  // Bits and group. A row has `words` 32-bit words of codes and `groups` scales, so
  // 32 * words = cols * bits and cols = groups * group.
  Affine choose(const TensorInfo& weight, const TensorInfo& scales) const {
    const int64_t words = weight.shape.back();
    const int64_t groups = scales.shape.back();
    std::vector<Affine> fitting;
    for (int bits : kAffineBits) {
      for (int group : kAffineGroups) {
        const int64_t cols = groups * group;
        if (words * 32 == cols * bits && cols == expected_cols_.value_or(cols)) {
          fitting.push_back({bits, group});
        }
      }
    }
    const std::string shapes =
        fmt::format("{} with scales {}", shape_text(weight), shape_text(scales));
    const QuantizationEntry* own = quantization_.find_override(prefix_);
    std::vector<Affine> choices;
    if (own != nullptr) {
      check_supported(weight, *own);
      choices = agreeing(fitting, *own);
      if (choices.empty()) {
        fail(ErrorCode::kCorrupt, weight,
             fmt::format("{} is not what config.json says: {} bits in groups of {}", shapes,
                         own->bits, own->group));
      }
    } else {
      if (quantization_.global) choices = agreeing(fitting, *quantization_.global);
      if (choices.empty()) choices = fitting;
      if (choices.empty()) {
        fail(ErrorCode::kUnsupported, weight,
             fmt::format("{}{} fits no quantisation known here; {}", shapes,
                         expected_cols_ ? fmt::format(" and {} inputs", *expected_cols_) : "",
                         kSupported));
      }
    }
    if (choices.size() > 1) {
      fail(ErrorCode::kCorrupt, weight,
           fmt::format("{} fits several quantisations; say which by its bits and group_size in "
                       "config.json's quantization",
                       shapes));
    }
    return choices.front();
  }

  void check_supported(const TensorInfo& weight, const QuantizationEntry& entry) const {
    if ((entry.bits != 0 && !contains(kAffineBits, entry.bits)) ||
        (entry.group != 0 && !contains(kAffineGroups, entry.group))) {
      fail(ErrorCode::kUnsupported, weight,
           fmt::format("its quantisation to {} bits in groups of {} is not supported; {}",
                       entry.bits, entry.group, kSupported));
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

  const Checkpoint& checkpoint_;
  const QuantizationConfig& quantization_;
  const std::string prefix_;
  const std::optional<int64_t> expected_cols_;
};

}  // namespace

std::optional<MatrixInfo> resolve_matrix(const Checkpoint& checkpoint,
                                         const QuantizationConfig& quantization,
                                         std::string_view prefix,
                                         std::optional<int64_t> expected_cols) {
  return MatrixResolver(checkpoint, quantization, prefix, expected_cols).resolve();
}

}  // namespace flashmoe::format

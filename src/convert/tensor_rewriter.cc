#include "convert/tensor_rewriter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/half.h"
#include "base/stop_signal.h"
#include "convert/first_error.h"
#include "kernels/cpu/group_loops.h"
#include "quant/encode.h"

namespace flashmoe::convert {

namespace {

// Weights of a task, unless a row is longer: so few that they stay in the caches.
constexpr int64_t kTaskWeights = int64_t{1} << 16;
constexpr int64_t kFittedTaskWeights = int64_t{1} << 14;  // a row takes longer then
constexpr int64_t kBatchWeights = int64_t{1} << 21;       // of a thread
constexpr int64_t kFittedBatchWeights = int64_t{1} << 16;
constexpr float kLookupDamping = 1.0f;

void change(MlxTensor::Change change, std::span<float> values) {
  switch (change) {
    case MlxTensor::Change::kNone:
      break;
    case MlxTensor::Change::kPlusOne:
      for (float& v : values) v += 1;
      break;
    case MlxTensor::Change::kLogOfNegative:
      for (float& v : values) v = std::log(-v);
      break;
  }
}

template <typename T, typename Narrow>
void narrow(std::span<const float> values, Narrow narrow_one, std::byte* out) {
  for (const float value : values) {
    const T stored = narrow_one(value);
    std::memcpy(out, &stored, sizeof(T));
    out += sizeof(T);
  }
}

// Rounded to the type, as MLX does; what was of the type before stays as it was.
void store_plain(quant::DType type, std::span<const float> values, std::byte* out) {
  switch (type) {
    case quant::DType::kF32:
      std::memcpy(out, values.data(), values.size_bytes());
      return;
    case quant::DType::kF16:
      return narrow<F16>(values, to_f16, out);
    case quant::DType::kBf16:
      return narrow<Bf16>(values, to_bf16, out);
    default:
      CHECK(!"a type of plain tensors");
  }
}

}  // namespace

TensorRewriter::TensorRewriter(const format::Checkpoint& source, ThreadPool& pool,
                               format::SafetensorsWriter& writer, const Rounding& rounding,
                               std::function<void(uint64_t bytes)> on_read)
    : reader_(source),
      pool_(pool),
      writer_(writer),
      rounding_(rounding),
      loops_(kernels::cpu::group_loops(kernels::cpu::chosen_isa())),
      on_read_(std::move(on_read)) {}

void TensorRewriter::write(const MlxTensor& tensor) {
  const bool fitted =
      rounding_.fitted && !tensor.unchanged && tensor.format.encoding == quant::Encoding::kAffine;
  const int64_t rows = tensor.rows();
  const size_t code_bytes = tensor.format.code_bytes(tensor.cols);    // of a row
  const size_t scale_bytes = tensor.format.scale_bytes(tensor.cols);  // of a row
  const auto row_bytes = static_cast<double>(tensor.source_bytes()) / static_cast<double>(rows);
  const int64_t task_rows =
      std::max((fitted ? kFittedTaskWeights : kTaskWeights) / tensor.cols, int64_t{1});
  const int64_t batch_tasks =
      fitted ? kFittedBatchWeights / kFittedTaskWeights : kBatchWeights / kTaskWeights;
  const int64_t batch_rows = task_rows * batch_tasks * pool_.threads();
  for (auto& codes : codes_) {
    codes.resize(static_cast<size_t>(std::min(rows, batch_rows)) * code_bytes);
  }
  std::vector<std::byte> scales(static_cast<size_t>(rows) * scale_bytes);
  std::vector<std::byte> biases(scales.size());

  const int64_t members = fitted && tensor.shape.size() == 3 ? tensor.shape[0] : 1;
  const int64_t member_rows = rows / members;
  Fitters fitters;
  int64_t fitted_begin = 0, fitted_end = fitted ? 0 : rows;  // rows that `fitters` are for
  std::span<const std::byte> ready;                          // codes to be written
  int batch = 0;
  for (int64_t begin = 0, count = 0; begin < rows; begin += count, ++batch) {
    if (stop_requested()) throw Error(ErrorCode::kCancelled, "stopped");
    if (begin == fitted_end) {
      const int64_t first = begin / member_rows;
      const int64_t n = std::min<int64_t>(members - first, pool_.threads());
      fitters.clear();
      fitters = make_fitters(tensor, first, n);
      fitted_begin = begin;
      fitted_end = begin + n * member_rows;
    }
    count = std::min(batch_rows, fitted_end - begin);
    std::vector<std::byte>& codes = codes_[batch % 2];
    const auto tasks = static_cast<int>((count + task_rows - 1) / task_rows);
    reader_.hold(tensor, begin, count, pool_);
    reader_.expect(tensor, begin + count, std::min(rows - begin - count, batch_rows));
    FirstError error;
    pool_.run(1 + tasks, [&](int task) {
      error.guard([&] {
        if (task == 0) return writer_.write(ready);
        const int64_t first = (task - 1) * task_rows;
        const auto in_codes = static_cast<size_t>(first);
        const auto in_scales = static_cast<size_t>(begin + first) * scale_bytes;
        convert(tensor, begin + first, std::min(task_rows, count - first),
                {codes.data() + in_codes * code_bytes, scales.data() + in_scales,
                 biases.data() + in_scales},
                fitters, fitted_begin);
      });
    });
    error.rethrow();
    ready = std::span(codes).first(static_cast<size_t>(count) * code_bytes);
    on_read_(static_cast<uint64_t>(static_cast<double>(count) * row_bytes));
  }
  writer_.write(ready);
  writer_.write(scales);
  writer_.write(biases);
}

TensorRewriter::Fitters TensorRewriter::make_fitters(const MlxTensor& tensor, int64_t first,
                                                     int64_t count) {
  const std::string path = tensor.path();
  // A tied embedding's rows are also added up as they are, where every column counts alike.
  const bool looked_up = path.ends_with("embed_tokens");
  const float damping = looked_up ? kLookupDamping : quant::RowFitter::kDamping;
  Fitters fitters(static_cast<size_t>(count));
  FirstError error;
  pool_.run(static_cast<int>(count), [&](int i) {
    error.guard([&] {
      const InputStatistics inputs =
          rounding_.importance.find(path, first + i, tensor.cols, rounding_.tied_embeddings);
      fitters[static_cast<size_t>(i)] = std::make_unique<quant::RowFitter>(
          tensor.format, tensor.cols, inputs.squares, inputs.moments, damping, loops_);
    });
  });
  error.rethrow();
  return fitters;
}

void TensorRewriter::convert(const MlxTensor& tensor, int64_t first, int64_t rows, Parts parts,
                             const Fitters& fitters, int64_t fitted_row) const {
  const int64_t cols = tensor.cols;
  if (tensor.unchanged) {
    return reader_.copy(tensor, first, rows, parts.codes, parts.scales, parts.biases);
  }
  std::vector<float> weights(static_cast<size_t>(rows * cols));
  reader_.read(tensor, first, rows, weights.data());
  if (tensor.format.encoding == quant::Encoding::kPlain) {
    change(tensor.change, weights);
    return store_plain(tensor.dtype, weights, parts.codes);
  }
  const int64_t member_rows = tensor.shape.size() == 3 ? tensor.shape[1] : tensor.rows();
  for (int64_t i = 0; i < rows; ++i) {
    const float* row = weights.data() + i * cols;
    if (fitters.empty()) {
      quant::encode_row(tensor.format, cols, row, parts.codes, parts.scales, parts.biases, loops_);
    } else {
      const int64_t member = (first + i - fitted_row) / member_rows;
      fitters[static_cast<size_t>(member)]->encode_row(row, parts.codes, parts.scales,
                                                       parts.biases);
    }
    parts.codes += tensor.format.code_bytes(cols);
    parts.scales += tensor.format.scale_bytes(cols);
    parts.biases += tensor.format.scale_bytes(cols);
  }
}

}  // namespace flashmoe::convert

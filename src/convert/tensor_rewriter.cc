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
#include "quant/decode.h"
#include "quant/encode.h"

namespace flashmoe::convert {

namespace {

constexpr int64_t kTaskBytes = int64_t{1} << 20;        // of the source, unless a row is longer
constexpr int64_t kFittedTaskBytes = int64_t{1} << 15;  // a row takes longer then
constexpr int kTasksPerThread = 4;
constexpr float kLookupDamping = 1.0f;

template <typename T, typename Narrow>
void add_one(int64_t n, const std::byte* in, Narrow narrow, std::byte* out) {
  for (int64_t i = 0; i < n; ++i) {
    T value;
    std::memcpy(&value, in + i * sizeof(T), sizeof(T));
    if constexpr (std::is_same_v<T, float>) {
      value += 1;
    } else {
      value = narrow(to_float(value) + 1);
    }
    std::memcpy(out + i * sizeof(T), &value, sizeof(T));
  }
}

// Rounded to the type, as MLX does.
void add_one(quant::DType type, int64_t n, const std::byte* in, std::byte* out) {
  switch (type) {
    case quant::DType::kF32:
      return add_one<float>(n, in, nullptr, out);
    case quant::DType::kF16:
      return add_one<F16>(n, in, to_f16, out);
    case quant::DType::kBf16:
      return add_one<Bf16>(n, in, to_bf16, out);
    default:
      CHECK(!"a norm's type");
  }
}

}  // namespace

TensorRewriter::TensorRewriter(const std::vector<io::File>& files, ThreadPool& pool,
                               format::SafetensorsWriter& writer, const Rounding& rounding,
                               std::function<void(uint64_t bytes)> on_read)
    : files_(files),
      pool_(pool),
      writer_(writer),
      rounding_(rounding),
      on_read_(std::move(on_read)) {}

void TensorRewriter::write(const MlxTensor& tensor) {
  const bool fitted = rounding_.fitted && tensor.format.encoding == quant::Encoding::kAffine;
  const int64_t rows = tensor.rows();
  const size_t code_bytes = tensor.format.code_bytes(tensor.cols());    // of a row
  const size_t scale_bytes = tensor.format.scale_bytes(tensor.cols());  // of a row
  const auto row_bytes = static_cast<int64_t>(tensor.source_bytes()) / rows;
  const int64_t task_rows =
      std::max((fitted ? kFittedTaskBytes : kTaskBytes) / row_bytes, int64_t{1});
  const int64_t batch_rows = task_rows * kTasksPerThread * pool_.threads();
  for (auto& codes : codes_) {
    codes.resize(static_cast<size_t>(std::min(rows, batch_rows)) * code_bytes);
  }
  std::vector<std::byte> scales(static_cast<size_t>(rows) * scale_bytes);
  std::vector<std::byte> biases(scales.size());

  const int64_t members = tensor.shape.size() == 3 ? tensor.shape[0] : 1;
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
    on_read_(static_cast<uint64_t>(count * row_bytes));
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
          rounding_.importance.find(path, first + i, tensor.cols(), rounding_.tied_embeddings);
      fitters[static_cast<size_t>(i)] = std::make_unique<quant::RowFitter>(
          tensor.format, tensor.cols(), inputs.squares, inputs.moments, damping);
    });
  });
  error.rethrow();
  return fitters;
}

void TensorRewriter::convert(const MlxTensor& tensor, int64_t first, int64_t rows, Parts parts,
                             const Fitters& fitters, int64_t fitted_row) const {
  const int64_t cols = tensor.cols();
  const auto sources = static_cast<int64_t>(tensor.sources.size());
  const int64_t source_rows = tensor.rows() / sources;
  const size_t row_bytes = tensor.source_format.code_bytes(cols);
  const size_t scale_bytes = tensor.source_format.scale_bytes(cols);
  const int64_t member_rows = tensor.rows() / (tensor.shape.size() == 3 ? tensor.shape[0] : 1);
  std::vector<std::byte> raw, scales, biases;
  std::vector<float> row(static_cast<size_t>(cols));
  const auto read = [&](const format::Extent& extent, int64_t at, int64_t count, size_t each,
                        std::vector<std::byte>* out) {
    if (each == 0) return;
    out->resize(static_cast<size_t>(count) * each);
    files_[static_cast<size_t>(extent.file)].read_exact(
        extent.offset + static_cast<uint64_t>(at) * each, out->size(), out->data());
  };
  for (const int64_t end = first + rows; first < end;) {
    const format::Extent& source = tensor.sources[static_cast<size_t>(first / source_rows)];
    const int64_t at = first % source_rows;
    const int64_t count = std::min(end - first, source_rows - at);
    read(source, at, count, row_bytes, &raw);
    read(tensor.source_scales, at, count, scale_bytes, &scales);
    read(tensor.source_biases, at, count, scale_bytes, &biases);
    first += count;
    if (tensor.format.encoding == quant::Encoding::kPlain) {
      if (tensor.add_one) {
        add_one(tensor.dtype, count * cols, raw.data(), parts.codes);
      } else {
        std::memcpy(parts.codes, raw.data(), raw.size());
      }
      parts.codes += raw.size();
      continue;
    }
    for (int64_t i = 0; i < count; ++i) {
      const size_t offset = static_cast<size_t>(i) * row_bytes;
      const size_t scales_at = static_cast<size_t>(i) * scale_bytes;
      quant::decode_row(tensor.source_format, cols, raw.data() + offset, scales.data() + scales_at,
                        biases.data() + scales_at, row.data());
      if (!std::all_of(row.begin(), row.end(), [](float w) { return std::isfinite(w); })) {
        throw_error(ErrorCode::kCorrupt,
                    "{}: a row of {} at byte {} holds values that are not finite",
                    files_[static_cast<size_t>(source.file)].path(), tensor.name,
                    source.offset + static_cast<uint64_t>(at) * row_bytes + offset);
      }
      if (fitters.empty()) {
        quant::encode_row(tensor.format, cols, row.data(), parts.codes, parts.scales, parts.biases);
      } else {
        const int64_t member = (first - count + i - fitted_row) / member_rows;
        fitters[static_cast<size_t>(member)]->encode_row(row.data(), parts.codes, parts.scales,
                                                         parts.biases);
      }
      parts.codes += tensor.format.code_bytes(cols);
      parts.scales += tensor.format.scale_bytes(cols);
      parts.biases += tensor.format.scale_bytes(cols);
    }
  }
}

}  // namespace flashmoe::convert

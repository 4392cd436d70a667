#include "model/dense_loader.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "quant/decode.h"

namespace flashmoe::model {

namespace {

constexpr size_t kPlaceAlignment = 64;

int64_t total_rows(const std::vector<RowRun>& runs) {
  int64_t rows = 0;
  for (const RowRun& run : runs) rows += run.count;
  return rows;
}

// Walks a list of runs in pieces of at most `max_rows` rows.
class RowWalker {
 public:
  explicit RowWalker(const std::vector<RowRun>& runs) : runs_(runs) {}

  // The runs of the next piece; empty at the end.
  std::vector<RowRun> next(int64_t max_rows) {
    std::vector<RowRun> piece;
    while (max_rows > 0 && run_ < runs_.size()) {
      const int64_t n = std::min(max_rows, runs_[run_].count - done_);
      piece.push_back({runs_[run_].begin + done_, n});
      max_rows -= n;
      done_ += n;
      if (done_ == runs_[run_].count) {
        ++run_;
        done_ = 0;
      }
    }
    return piece;
  }

 private:
  const std::vector<RowRun>& runs_;
  size_t run_ = 0;
  int64_t done_ = 0;
};

// Reads one part (codes, scales or biases) of the runs' rows, one after the other.
void read_part(const format::ContentReader& files, const format::Extent& part, size_t row_bytes,
               const std::vector<RowRun>& runs, std::byte* to) {
  for (const RowRun& run : runs) {
    const size_t bytes = static_cast<size_t>(run.count) * row_bytes;
    files.read(part.file, part.offset + static_cast<uint64_t>(run.begin) * row_bytes, bytes, to);
    to += bytes;
  }
}

// `rows` is the tensor's first dimension.
void apply(Transform transform, int64_t rows, std::span<float> values) {
  switch (transform) {
    case Transform::kNone:
      break;
    case Transform::kPlusOne:
      for (float& v : values) v = 1.0f + v;
      break;
    case Transform::kNegativeExp:
      for (float& v : values) v = -std::exp(v);
      break;
    case Transform::kTranspose: {
      const std::vector<float> original(values.begin(), values.end());
      const size_t n = static_cast<size_t>(rows), cols = values.size() / n;
      for (size_t i = 0; i < values.size(); ++i) values[i % cols * n + i / cols] = original[i];
      break;
    }
  }
}

}  // namespace

size_t DenseLoader::place(size_t bytes) {
  const size_t offset = prepared_bytes_;
  prepared_bytes_ += (bytes + kPlaceAlignment - 1) / kPlaceAlignment * kPlaceAlignment;
  return offset;
}

void DenseLoader::add_rows(const format::MatrixInfo& source, std::vector<RowRun> runs,
                           kernels::Matrix* target) {
  if (!backend_.supports(source.format)) {
    throw_error(ErrorCode::kUnsupported, "tensor '{}': the {} backend has no kernels for {}",
                source.name, backend_.name(), source.format.name());
  }
  const int64_t rows = total_rows(runs);
  *target = {source.format, rows, source.cols, nullptr};
  const size_t offset = place(backend_.prepared_bytes(source.format, rows, source.cols));
  matrices_.push_back({source, std::move(runs), target, offset});
  file_bytes_ += source.format.row_bytes(source.cols) * static_cast<uint64_t>(rows);
}

void DenseLoader::add_vector(const format::TensorInfo& source, Transform transform,
                             const float** target) {
  int64_t count = 1;
  for (int64_t dim : source.shape) count *= dim;
  const size_t offset = place(static_cast<size_t>(count) * sizeof(float));
  vectors_.push_back({source, transform, {}, target, offset, count});
  file_bytes_ += source.extent.bytes;
}

void DenseLoader::add_computed(std::vector<float> values, const float** target) {
  const int64_t count = static_cast<int64_t>(values.size());
  const size_t offset = place(values.size() * sizeof(float));
  vectors_.push_back({{}, Transform::kNone, std::move(values), target, offset, count});
}

AlignedBuffer DenseLoader::load(const format::ContentReader& files, kernels::Backend& backend,
                                size_t staging_bytes,
                                const std::function<void(uint64_t, uint64_t)>& progress) const {
  AlignedBuffer memory(prepared_bytes_);
  AlignedBuffer staging(staging_bytes);
  uint64_t done_bytes = 0;
  const auto advance = [&](uint64_t bytes) {
    done_bytes += bytes;
    if (progress) progress(done_bytes, file_bytes_);
  };

  for (const MatrixItem& item : matrices_) {
    const quant::Format& format = item.source.format;
    const int64_t cols = item.source.cols, rows = item.target->rows;
    const size_t code_bytes = format.code_bytes(cols), scale_bytes = format.scale_bytes(cols);
    constexpr int64_t kBlock = kernels::Backend::kRowBlock;
    const int64_t fitting = static_cast<int64_t>(staging_bytes / format.row_bytes(cols));
    if (fitting < kBlock) {
      throw_error(ErrorCode::kUnsupported, "tensor '{}': its rows of {} inputs are too wide",
                  item.source.name, cols);
    }
    const int64_t piece_rows = fitting / kBlock * kBlock;
    item.target->data = memory.data() + item.offset;
    RowWalker walker(item.runs);
    for (int64_t row = 0; row < rows; row += piece_rows) {
      const std::vector<RowRun> piece = walker.next(piece_rows);
      const int64_t n = std::min(piece_rows, rows - row);
      std::byte* codes = staging.data();
      std::byte* scales = codes + static_cast<size_t>(n) * code_bytes;
      std::byte* biases = scales + static_cast<size_t>(n) * scale_bytes;
      read_part(files, item.source.codes, code_bytes, piece, codes);
      if (scale_bytes > 0) {
        read_part(files, item.source.scales, scale_bytes, piece, scales);
        read_part(files, item.source.biases, scale_bytes, piece, biases);
      }
      backend.prepare({format, n, cols, codes, scales, biases}, row, rows,
                      memory.data() + item.offset);
      advance(static_cast<uint64_t>(n) * format.row_bytes(cols));
    }
  }

  for (const VectorItem& item : vectors_) {
    float* values = reinterpret_cast<float*>(memory.data() + item.offset);
    if (item.computed.empty()) {
      // A few kilobytes at most: read at once, decoded as one row.
      std::vector<std::byte> bytes(item.source.extent.bytes);
      files.read(item.source.extent, bytes.data());
      quant::Format format;
      format.dtype = item.source.dtype;
      quant::decode_row(format, item.count, bytes.data(), nullptr, nullptr, values);
      apply(item.transform, item.source.shape[0], {values, static_cast<size_t>(item.count)});
      advance(bytes.size());
    } else {
      std::copy(item.computed.begin(), item.computed.end(), values);
    }
    *item.target = values;
  }
  for (const Alias& alias : aliases_) *alias.target = *alias.source;
  return memory;
}

}  // namespace flashmoe::model

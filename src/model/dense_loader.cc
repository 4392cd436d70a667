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

// The parts of n rows in `memory`, yet to be filled.
struct RowParts {
  std::byte *codes, *scales, *biases;

  RowParts(const quant::Format& format, int64_t cols, int64_t n, std::byte* memory)
      : codes(memory),
        scales(codes + static_cast<size_t>(n) * format.code_bytes(cols)),
        biases(scales + static_cast<size_t>(n) * format.scale_bytes(cols)) {}
};

// The runs' n rows of a matrix that is stored in rows, one after the other.
kernels::FileMatrix read_rows(const format::ContentReader& files, const format::MatrixInfo& source,
                              const std::vector<RowRun>& runs, int64_t n, std::byte* to) {
  const quant::Format& format = source.format;
  const int64_t cols = source.cols;
  const RowParts parts(format, cols, n, to);
  read_part(files, source.codes, format.code_bytes(cols), runs, parts.codes);
  if (format.scale_bytes(cols) > 0) {
    read_part(files, source.scales, format.scale_bytes(cols), runs, parts.scales);
  }
  if (format.bias_bytes(cols) > 0) {
    read_part(files, source.biases, format.bias_bytes(cols), runs, parts.biases);
  }
  kernels::FileMatrix matrix{format, n, cols, parts.codes, parts.scales, parts.biases};
  return matrix;
}

// All of a matrix in another storage.
kernels::FileMatrix read_stored(const format::ContentReader& files,
                                const format::MatrixInfo& source, std::byte* to) {
  kernels::FileMatrix matrix;
  matrix.format = source.format;
  matrix.rows = source.rows;
  matrix.cols = source.cols;
  matrix.storage = source.storage;
  const auto read = [&](const format::Extent& part) -> const std::byte* {
    if (part.bytes == 0) return nullptr;
    std::byte* place = to;
    files.read(part, place);
    to += part.bytes;
    return place;
  };
  matrix.codes = read(source.codes);
  matrix.scales = read(source.scales);
  matrix.biases = read(source.biases);
  matrix.group_of_input = read(source.group_of_input);
  if (!matrix.format.permuted) return matrix;
  std::vector<int32_t> order(static_cast<size_t>(matrix.cols));
  if (!quant::sort_inputs(matrix.group_of_input, matrix.cols, matrix.storage.group, order.data())) {
    throw_error(ErrorCode::kCorrupt,
                "tensor '{}': the groups of its inputs do not have {} inputs each", source.name,
                matrix.storage.group);
  }
  return matrix;
}

// The runs' n rows out of it.
kernels::FileMatrix unpack_rows(const kernels::FileMatrix& stored, const std::vector<RowRun>& runs,
                                int64_t n, std::byte* to) {
  const quant::Format& format = stored.format;
  const int64_t cols = stored.cols;
  const RowParts parts(format, cols, n, to);
  std::vector<int32_t> order(static_cast<size_t>(cols));
  if (format.permuted) {
    CHECK(quant::sort_inputs(stored.group_of_input, cols, stored.storage.group, order.data()));
  }
  size_t row = 0;
  for (const RowRun& run : runs) {
    quant::unpack_rows(
        {stored.storage, format, stored.rows, cols, stored.codes, stored.scales, stored.biases},
        format.permuted ? order.data() : nullptr, run.begin, run.count,
        parts.codes + row * format.code_bytes(cols), parts.scales + row * format.scale_bytes(cols),
        parts.biases + row * format.bias_bytes(cols));
    row += static_cast<size_t>(run.count);
  }
  kernels::FileMatrix matrix{format, n, cols, parts.codes, parts.scales, parts.biases};
  matrix.storage.group = stored.storage.group;
  matrix.group_of_input = stored.group_of_input;
  return matrix;
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
  // Of rows taken in several turns, such that all together count as the whole.
  uint64_t& added = rows_added_[source.name];
  const auto bytes_of = [&](uint64_t n) {
    return source.file_bytes() * n / static_cast<uint64_t>(source.rows);
  };
  file_bytes_ += bytes_of(added + static_cast<uint64_t>(rows)) - bytes_of(added);
  added += static_cast<uint64_t>(rows);
}

uint64_t DenseLoader::item_bytes(const MatrixItem& item) {
  return item.source.file_bytes() * static_cast<uint64_t>(total_rows(item.runs)) /
         static_cast<uint64_t>(item.source.rows);
}

size_t DenseLoader::stored_bytes() const {
  uint64_t largest = 0;
  for (const MatrixItem& item : matrices_) {
    if (!item.source.storage.in_rows()) largest = std::max(largest, item.source.file_bytes());
  }
  return static_cast<size_t>(largest);
}

const format::MatrixInfo* DenseLoader::source(const kernels::Matrix& target) const {
  for (const MatrixItem& item : matrices_) {
    if (item.target == &target) return &item.source;
  }
  return nullptr;
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
  AlignedBuffer stored_memory(std::max<size_t>(stored_bytes(), 1));
  uint64_t done_bytes = 0;
  const auto advance = [&](uint64_t bytes) {
    done_bytes += bytes;
    if (progress) progress(done_bytes, file_bytes_);
  };

  for (const MatrixItem& item : matrices_) {
    const quant::Format& format = item.source.format;
    const int64_t cols = item.source.cols, rows = item.target->rows;
    constexpr int64_t kBlock = kernels::Backend::kRowBlock;
    const int64_t fitting = static_cast<int64_t>(staging_bytes / format.row_bytes(cols));
    if (fitting < kBlock) {
      throw_error(ErrorCode::kUnsupported, "tensor '{}': its rows of {} inputs are too wide",
                  item.source.name, cols);
    }
    const int64_t piece_rows = fitting / kBlock * kBlock;
    item.target->data = memory.data() + item.offset;
    kernels::FileMatrix stored;
    if (!item.source.storage.in_rows()) {
      stored = read_stored(files, item.source, stored_memory.data());
      if (rows == stored.rows && item.runs.size() == 1) {
        backend.prepare(stored, 0, rows, memory.data() + item.offset);
        advance(item_bytes(item));
        continue;
      }
    }
    RowWalker walker(item.runs);
    for (int64_t row = 0; row < rows; row += piece_rows) {
      const std::vector<RowRun> piece = walker.next(piece_rows);
      const int64_t n = std::min(piece_rows, rows - row);
      const kernels::FileMatrix part = item.source.storage.in_rows()
                                           ? read_rows(files, item.source, piece, n, staging.data())
                                           : unpack_rows(stored, piece, n, staging.data());
      backend.prepare(part, row, rows, memory.data() + item.offset);
      if (item.source.storage.in_rows()) {
        advance(static_cast<uint64_t>(n) * format.row_bytes(cols));
      }
    }
    if (!item.source.storage.in_rows()) advance(item_bytes(item));
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

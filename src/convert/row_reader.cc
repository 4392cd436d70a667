#include "convert/row_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "convert/first_error.h"
#include "quant/decode.h"
#include "quant/storage.h"

namespace flashmoe::convert {

namespace {

using format::MatrixInfo;

// Calls use(matrix, member, row in it, rows, rows of the tensor before) for each run of rows
// [first, first + count) that lies in one matrix.
template <typename Use>
void for_each_run(const MlxTensor& tensor, int64_t first, int64_t count, Use&& use) {
  int64_t begin = 0;  // of the source in the tensor
  for (const SourceRows& source : tensor.sources) {
    const int64_t from = std::max(first, begin);
    const int64_t end = std::min(first + count, begin + source.count);
    for (int64_t row = from; row < end;) {
      const int64_t rows = tensor.matrices[source.matrix].rows;
      const int64_t at = source.first + row - begin;
      const int64_t n = std::min(end - row, rows - at % rows);
      use(source.matrix, at / rows, at % rows, n, row - first);
      row += n;
    }
    begin += source.count;
    if (begin >= first + count) return;
  }
}

// `bytes` of each row of a part, from that of row `first` of matrix `member` of the stack on.
format::Extent rows_of(const format::Extent& part, const MatrixInfo& matrix, int64_t member,
                       int64_t first, int64_t count, size_t bytes) {
  const uint64_t each = part.bytes / static_cast<uint64_t>(matrix.count);
  const uint64_t stride = matrix.stride > 0 ? matrix.stride : each;
  return {
      part.file,
      part.offset + static_cast<uint64_t>(member) * stride + static_cast<uint64_t>(first) * bytes,
      static_cast<uint64_t>(count) * bytes};
}

bool all_finite(const float* values, int64_t n) {
  bool found = false;  // an exponent of all ones; without a way out, so that vectors can do it
  for (int64_t i = 0; i < n; ++i) {
    found |= (std::bit_cast<int32_t>(values[i]) & 0x7fffffff) >= 0x7f800000;
  }
  return !found;
}

}  // namespace

RowReader::RowReader(const format::Checkpoint& source)
    : source_(source), reader_(source, format::Checksums::kIgnore) {}

bool RowReader::must_hold(const MatrixInfo& matrix) const {
  const format::FileRecords* records = source_.records(matrix.codes.file);
  return !matrix.storage.in_rows() || (records != nullptr && !records->lz4.empty());
}

void RowReader::hold(const MlxTensor& tensor, int64_t first, int64_t count, ThreadPool& pool) {
  std::map<Key, Held> kept;
  std::vector<std::pair<Key, Held*>> missing;
  for_each_run(tensor, first, count, [&](size_t matrix, int64_t member, int64_t, int64_t, int64_t) {
    const Key key = {matrix, member};
    if (!must_hold(tensor.matrices[matrix]) || kept.contains(key)) return;
    const auto before = tensor_ == &tensor ? held_.find(key) : held_.end();
    if (before != held_.end()) {
      kept.insert(held_.extract(before));
    } else {
      missing.emplace_back(key, &kept[key]);
    }
  });
  tensor_ = &tensor;
  held_ = std::move(kept);
  if (missing.empty()) return;
  FirstError error;
  pool.run(static_cast<int>(missing.size()), [&](int i) {
    error.guard([&] {
      const auto& [key, held] = missing[static_cast<size_t>(i)];
      *held = load(tensor.matrices[key.first], key.second);
    });
  });
  error.rethrow();
}

RowReader::Held RowReader::load(const MatrixInfo& matrix, int64_t member) const {
  const auto read = [&](const format::Extent& part) {
    std::vector<std::byte> bytes(part.bytes / static_cast<uint64_t>(matrix.count));
    if (!bytes.empty()) {
      reader_.read(rows_of(part, matrix, member, 0, 1, bytes.size()), bytes.data());
    }
    return bytes;
  };
  Held held{read(matrix.codes), read(matrix.scales), read(matrix.biases), {}};
  if (!matrix.format.permuted) return held;
  held.order.resize(static_cast<size_t>(matrix.cols));
  if (!quant::sort_inputs(read(matrix.group_of_input).data(), matrix.cols, matrix.storage.group,
                          held.order.data())) {
    throw_error(ErrorCode::kCorrupt,
                "tensor '{}': the groups of its inputs do not have {} inputs each", matrix.name,
                matrix.storage.group);
  }
  return held;
}

void RowReader::expect(const MlxTensor& tensor, int64_t first, int64_t count) const {
  for_each_run(
      tensor, first, count, [&](size_t which, int64_t member, int64_t row, int64_t n, int64_t) {
        const MatrixInfo& matrix = tensor.matrices[which];
        if (must_hold(matrix)) return;
        reader_.expect(
            rows_of(matrix.codes, matrix, member, row, n, matrix.format.code_bytes(matrix.cols)));
      });
}

void RowReader::read(const MlxTensor& tensor, int64_t first, int64_t count, float* out) const {
  for_each_run(tensor, first, count,
               [&](size_t matrix, int64_t member, int64_t row, int64_t n, int64_t before) {
                 read_rows(tensor, matrix, member, row, n, out + before * tensor.cols);
               });
  if (tensor.columns.empty()) return;
  std::vector<float> stored(static_cast<size_t>(tensor.cols));
  for (float* row = out; row < out + count * tensor.cols; row += tensor.cols) {
    std::copy_n(row, tensor.cols, stored.data());
    for (size_t i = 0; i < stored.size(); ++i) {
      row[i] = stored[static_cast<size_t>(tensor.columns[i])];
    }
  }
}

void RowReader::copy(const MlxTensor& tensor, int64_t first, int64_t count, std::byte* codes,
                     std::byte* scales, std::byte* biases) const {
  for_each_run(tensor, first, count,
               [&](size_t which, int64_t member, int64_t row, int64_t n, int64_t) {
                 const MatrixInfo& matrix = tensor.matrices[which];
                 read_parts(matrix, held({which, member}), member, row, n, codes, scales, biases);
                 codes += static_cast<size_t>(n) * matrix.format.code_bytes(matrix.cols);
                 scales += static_cast<size_t>(n) * matrix.format.scale_bytes(matrix.cols);
                 biases += static_cast<size_t>(n) * matrix.format.bias_bytes(matrix.cols);
               });
}

const RowReader::Held* RowReader::held(const Key& key) const {
  const auto found = held_.find(key);
  return found == held_.end() ? nullptr : &found->second;
}

void RowReader::read_parts(const MatrixInfo& matrix, const Held* held, int64_t member,
                           int64_t first, int64_t count, std::byte* codes, std::byte* scales,
                           std::byte* biases) const {
  if (held != nullptr && !matrix.storage.in_rows()) {
    const auto part = [](const std::vector<std::byte>& bytes) {
      return bytes.empty() ? nullptr : bytes.data();
    };
    return quant::unpack_rows({matrix.storage, matrix.format, matrix.rows, matrix.cols,
                               part(held->codes), part(held->scales), part(held->biases)},
                              matrix.format.permuted ? held->order.data() : nullptr, first, count,
                              codes, scales, biases);
  }
  const auto read = [&](const format::Extent& part, std::vector<std::byte> Held::*whole,
                        size_t row_bytes, std::byte* to) {
    if (row_bytes == 0) return;
    if (held == nullptr) {
      return reader_.read(rows_of(part, matrix, member, first, count, row_bytes), to);
    }
    std::memcpy(to, (held->*whole).data() + static_cast<size_t>(first) * row_bytes,
                static_cast<size_t>(count) * row_bytes);
  };
  read(matrix.codes, &Held::codes, matrix.format.code_bytes(matrix.cols), codes);
  read(matrix.scales, &Held::scales, matrix.format.scale_bytes(matrix.cols), scales);
  read(matrix.biases, &Held::biases, matrix.format.bias_bytes(matrix.cols), biases);
}

void RowReader::read_rows(const MlxTensor& tensor, size_t which, int64_t member, int64_t first,
                          int64_t count, float* out) const {
  const MatrixInfo& matrix = tensor.matrices[which];
  const quant::Format& format = matrix.format;
  const int64_t cols = matrix.cols;
  const size_t code_bytes = format.code_bytes(cols), scale_bytes = format.scale_bytes(cols),
               bias_bytes = format.bias_bytes(cols);
  const Held* held = this->held({which, member});
  const auto n = static_cast<size_t>(count);
  std::vector<std::byte> memory(n * (code_bytes + scale_bytes + bias_bytes));
  std::byte* codes = memory.data();
  std::byte* scales = codes + n * code_bytes;
  std::byte* biases = scales + n * scale_bytes;
  read_parts(matrix, held, member, first, count, codes, scales, biases);
  std::vector<float> sorted(format.permuted ? static_cast<size_t>(cols) : 0);
  for (size_t i = 0; i < n; ++i, out += cols) {
    float* row = format.permuted ? sorted.data() : out;
    quant::decode_row(format, cols, codes + i * code_bytes, scales + i * scale_bytes,
                      biases + i * bias_bytes, row);
    for (int64_t c = 0; format.permuted && c < cols; ++c) {
      out[held->order[static_cast<size_t>(c)]] = row[c];
    }
    if (tensor.format.encoding == quant::Encoding::kPlain) continue;
    if (all_finite(out, cols)) continue;
    throw_error(ErrorCode::kCorrupt, "{}: {}: row {} holds values that are not finite",
                source_.files()[static_cast<size_t>(matrix.codes.file)], matrix.tensors.front(),
                member * matrix.rows + first + static_cast<int64_t>(i));
  }
}

}  // namespace flashmoe::convert

#include "convert/pack_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "quant/interleaved.h"

namespace flashmoe::convert {

namespace {

using experts::ExpertIndex;
using experts::ExpertParts;
using format::Extent;
using format::StoreManifest;
using format::TensorInfo;

constexpr uint64_t kPage = 4096;  // records and large tensors begin at multiples of it
constexpr uint64_t kLine = 64;    // small tensors and the parts of a record, of this
constexpr uint64_t kDenseRecordBytes = uint64_t{1} << 20;  // that share a checksum

uint64_t round_up(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

// From a place in the source's files to the tensor that lies there.
class TensorMap {
 public:
  explicit TensorMap(const format::Checkpoint& source) {
    for (const TensorInfo& tensor : source.tensors()) {
      int64_t slice = 0;
      for (const Extent& extent : contiguous_extents(tensor)) {
        if (extent.bytes > 0) runs_.push_back({extent, &tensor, slice});
        ++slice;
      }
    }
    std::sort(runs_.begin(), runs_.end(),
              [](const Run& a, const Run& b) { return place(a.extent) < place(b.extent); });
  }

  struct Slice {
    const TensorInfo* tensor;
    int64_t index;  // along the first dimension
  };
  // Nothing when the bytes are not those of one tensor.
  std::optional<Slice> find(const Extent& part) const {
    auto run =
        std::upper_bound(runs_.begin(), runs_.end(), place(part),
                         [](const auto& key, const Run& r) { return key < place(r.extent); });
    if (run == runs_.begin()) return std::nullopt;
    --run;
    if (run->extent.file != part.file ||
        part.offset + part.bytes > run->extent.offset + run->extent.bytes) {
      return std::nullopt;
    }
    const TensorInfo& tensor = *run->tensor;
    if (tensor.slice_stride > 0 || tensor.shape.empty()) return Slice{&tensor, run->slice};
    const uint64_t slice_bytes =
        tensor.extent.bytes / static_cast<uint64_t>(std::max<int64_t>(tensor.shape.front(), 1));
    return Slice{&tensor, static_cast<int64_t>((part.offset - run->extent.offset) / slice_bytes)};
  }

 private:
  struct Run {
    Extent extent;
    const TensorInfo* tensor;
    int64_t slice;
  };
  static std::pair<int, uint64_t> place(const Extent& extent) {
    return {extent.file, extent.offset};
  }
  std::vector<Run> runs_;
};

// "layers.3.mlp.experts.{}.up_proj", where the names differ in the expert's number alone.
std::optional<std::string> common_name(const std::vector<const TensorInfo*>& tensors) {
  const std::string& first = tensors.front()->name;
  for (size_t at = first.find(".0."); at != std::string::npos; at = first.find(".0.", at + 1)) {
    const std::string head = first.substr(0, at + 1), tail = first.substr(at + 2);
    bool fits = head.find("{}") == std::string::npos;
    for (size_t e = 0; fits && e < tensors.size(); ++e) {
      fits = tensors[e]->name == head + std::to_string(e) + tail;
    }
    if (fits) return head + "{}" + tail;
  }
  return std::nullopt;
}

class Planner {
 public:
  Planner(const format::Checkpoint& source, const ExpertIndex& index)
      : source_(source), index_(index), map_(source) {
    layout_.manifest.weights.emplace_back();  // the dense file
    layout_.pieces.emplace_back();
  }

  PackLayout plan() {
    for (int layer = 0; layer < index_.layers(); ++layer) {
      if (!index_.layer(layer).parts.empty()) add_layer(layer);
    }
    add_dense();
    return std::move(layout_);
  }

 private:
  // What one place in the records of a layer holds: of each expert a tensor or a slice.
  struct Column {
    int part = 0;                            // of ExpertParts, the first that lies in it
    std::vector<const TensorInfo*> tensors;  // [experts]; all the same for a stack
    bool stack = false;
    std::string name;

    int matrix() const { return part / experts::kMatrixParts; }
    bool is_codes() const { return part % experts::kMatrixParts == 0; }
    // Of one expert.
    uint64_t bytes() const { return tensors.front()->extent.bytes / (stack ? tensors.size() : 1); }
    Extent extent(size_t expert) const {
      const TensorInfo& tensor = *tensors[expert];
      Extent result = tensor.extent;
      if (stack) {
        result.bytes = bytes();
        result.offset += expert * (tensor.slice_stride > 0 ? tensor.slice_stride : result.bytes);
      }
      return result;
    }
  };

  // Nothing when the experts do not fit records.
  std::optional<std::vector<Column>> columns(int layer) const {
    const auto experts = static_cast<size_t>(index_.experts());
    std::vector<std::vector<const TensorInfo*>> of_expert(experts);
    std::vector<int> first_parts;
    for (size_t e = 0; e < experts; ++e) {
      for (int p = 0; p < experts::kParts; ++p) {
        const Extent& part = index_.layer(layer).parts[e][static_cast<size_t>(p)];
        if (part.bytes == 0) continue;
        const std::optional<TensorMap::Slice> slice = map_.find(part);
        if (!slice) return std::nullopt;
        std::vector<const TensorInfo*>& seen = of_expert[e];
        if (std::find(seen.begin(), seen.end(), slice->tensor) == seen.end()) {
          seen.push_back(slice->tensor);
          if (e == 0) first_parts.push_back(p);
        }
      }
      if (of_expert[e].size() != of_expert[0].size()) return std::nullopt;
    }
    std::vector<Column> result(of_expert[0].size());
    for (size_t c = 0; c < result.size(); ++c) {
      Column& column = result[c];
      column.part = first_parts[c];
      for (size_t e = 0; e < experts; ++e) column.tensors.push_back(of_expert[e][c]);
      if (!describe(&column)) return std::nullopt;
    }
    return result;
  }

  // Sets the column's kind and name; false when its tensors are not alike.
  bool describe(Column* column) const {
    const TensorInfo& first = *column->tensors.front();
    const auto same = [&](const TensorInfo* t) { return t == &first; };
    column->stack = std::all_of(column->tensors.begin(), column->tensors.end(), same) &&
                    !first.shape.empty() && first.shape.front() == index_.experts();
    if (column->stack) {
      column->name = first.name;
      return true;
    }
    const auto alike = [&](const TensorInfo* t) {
      return t->dtype_name == first.dtype_name && t->shape == first.shape &&
             t->extent.bytes == first.extent.bytes && t->slice_stride == 0;
    };
    const std::optional<std::string> name = common_name(column->tensors);
    if (!name || !std::all_of(column->tensors.begin(), column->tensors.end(), alike)) return false;
    column->name = *name;
    return true;
  }

  void add_layer(int layer) {
    const std::optional<std::vector<Column>> found = columns(layer);
    if (!found) return;
    StoreManifest::WeightFile file;
    file.name = fmt::format("experts-{:03}.bin", layer);
    file.experts = index_.experts();
    const auto experts = static_cast<uint64_t>(file.experts);
    std::array<std::optional<PackLayout::RowMatrix>, 3> matrices;  // that are interleaved
    for (const Column& column : *found) {
      if (column.is_codes()) matrices[column.matrix()] = interleaved(layer, column);
    }
    std::vector<PackLayout::Piece> record;  // of the first expert, without sources
    std::vector<const Column*> sources;     // of each piece
    uint64_t end = 0;
    for (const Column& column : *found) {
      for (const TensorInfo* tensor : column.tensors) packed_.insert(tensor);
      const std::optional<PackLayout::RowMatrix>& matrix = matrices[column.matrix()];
      if (!column.is_codes() && matrix) continue;
      const TensorInfo& first = *column.tensors.front();
      StoreManifest::Part part = {column.name,      first.dtype_name,     !column.stack,
                                  first.shape,      round_up(end, kLine), column.bytes(),
                                  first.interleaved};
      if (matrix) {
        part.interleaved = matrix->format;
        if (matrix->format.encoding == quant::Encoding::kAffine) {
          part.dtype = quant::dtype_name(matrix->format.dtype);
        }
        part.shape = {matrix->rows, matrix->cols};
        if (column.stack) part.shape.insert(part.shape.begin(), file.experts);
        part.bytes = quant::interleaved_bytes(matrix->format, matrix->rows, matrix->cols);
      }
      record.push_back({part.offset, part.bytes, {}, matrix});
      sources.push_back(&column);
      end = part.offset + part.bytes;
      file.parts.push_back(std::move(part));
    }
    file.records.record_bytes = round_up(end, kPage);
    file.records.content_bytes = experts * file.records.record_bytes;

    std::vector<PackLayout::Piece> pieces;
    for (uint64_t e = 0; e < experts; ++e) {
      for (size_t i = 0; i < record.size(); ++i) {
        PackLayout::Piece& piece = pieces.emplace_back(record[i]);
        piece.offset += e * file.records.record_bytes;
        piece.source = sources[i]->extent(e);
        if (!piece.interleave) continue;
        for (const Column& column : *found) {
          if (column.matrix() != sources[i]->matrix() || column.is_codes()) continue;
          const bool scales = column.part % experts::kMatrixParts == 1;
          (scales ? piece.interleave->scales : piece.interleave->biases) = column.extent(e);
        }
      }
    }
    layout_.manifest.weights.push_back(std::move(file));
    layout_.pieces.push_back(std::move(pieces));
  }

  // The matrix with these codes, without its other parts, if it is to be interleaved.
  std::optional<PackLayout::RowMatrix> interleaved(int layer, const Column& codes) const {
    const ExpertIndex::Layer& l = index_.layer(layer);
    const int which = codes.matrix();
    const quant::Format& format = which == 0 ? l.gate : which == 1 ? l.up : l.down;
    if (!l.storages[static_cast<size_t>(which)].in_rows() || !quant::can_restore(format)) return {};
    const int64_t cols = which == 2 ? l.intermediate : l.hidden;
    const auto rows = static_cast<int64_t>(codes.bytes() / format.code_bytes(cols));
    // Gate and up may share a tensor, of which each is read by itself.
    const int64_t own_rows = which == 2 ? l.hidden : l.intermediate;
    if (rows != own_rows && own_rows % quant::kLanes != 0) return {};
    return PackLayout::RowMatrix{format, rows, cols, {}, {}};
  }

  void add_dense() {
    StoreManifest::WeightFile& file = layout_.manifest.weights.front();
    file.name = "dense.bin";
    uint64_t end = 0;
    for (const TensorInfo& tensor : source_.tensors()) {
      if (packed_.contains(&tensor)) continue;
      const uint64_t bytes = tensor.extent.bytes;
      uint64_t offset = round_up(end, bytes < kPage ? kLine : kPage);
      end = offset + bytes;
      file.tensors.push_back({tensor.name, tensor.dtype_name, tensor.shape, offset, bytes});
      for (const Extent& extent : contiguous_extents(tensor)) {
        if (extent.bytes > 0) layout_.pieces.front().push_back({offset, extent.bytes, extent});
        offset += extent.bytes;
      }
    }
    file.records.record_bytes = kDenseRecordBytes;
    file.records.content_bytes = round_up(end, kPage);
  }

  const format::Checkpoint& source_;
  const ExpertIndex& index_;
  const TensorMap map_;
  std::set<const TensorInfo*> packed_;  // the tensors in records
  PackLayout layout_;
};

}  // namespace

uint64_t PackLayout::bytes() const {
  uint64_t total = 0;
  for (const StoreManifest::WeightFile& file : manifest.weights) {
    total += file.records.content_bytes;
  }
  return total;
}

PackLayout plan_pack(const format::Checkpoint& source, const ExpertIndex& index) {
  return Planner(source, index).plan();
}

}  // namespace flashmoe::convert

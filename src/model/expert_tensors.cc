#include "model/expert_tensors.h"

#include <array>
#include <string>

#include "base/error.h"
#include "quant/interleaved.h"

namespace flashmoe::model {

namespace {

using format::Extent;
using format::MatrixInfo;

// Rows come in runs of this many: 0 where a matrix can only be taken whole.
int64_t row_unit(const quant::Storage& storage) {
  if (storage.kind == quant::Storage::Kind::kInterleaved) return quant::kLanes;
  return storage.in_rows() ? 1 : 0;
}

// Rows [first, first + rows) of matrix `which` of a stack, as its kMatrixParts parts of an expert.
void set_parts(const MatrixInfo& info, int64_t which, int64_t first, int64_t rows, Extent* parts) {
  const Extent* whole[experts::kMatrixParts] = {&info.codes, &info.scales, &info.biases,
                                                &info.group_of_input};
  for (int p = 0; p < experts::kMatrixParts; ++p) {
    if (whole[p]->bytes == 0) continue;
    const uint64_t bytes = whole[p]->bytes / static_cast<uint64_t>(info.count);
    const uint64_t stride = info.stride > 0 ? info.stride : bytes;
    parts[p] = {whole[p]->file, whole[p]->offset + static_cast<uint64_t>(which) * stride, bytes};
    if (rows == info.rows) continue;
    const int64_t unit = row_unit(info.storage);
    const uint64_t unit_bytes = bytes / static_cast<uint64_t>(info.rows / unit);
    parts[p].offset += static_cast<uint64_t>(first / unit) * unit_bytes;
    parts[p].bytes = static_cast<uint64_t>(rows / unit) * unit_bytes;
  }
}

class LayerResolver {
 public:
  LayerResolver(TensorFinder& finder, const ModelConfig& config, int layer)
      : finder_(finder),
        names_(finder.names()),
        number_(layer),
        base_(numbered(names_.layer, layer)),
        experts_(config.moe.experts),
        hidden_(config.hidden),
        inner_(config.moe.intermediate) {
    layer_.hidden = hidden_;
    layer_.intermediate = inner_;
    layer_.parts.resize(static_cast<size_t>(experts_));
  }

  experts::ExpertIndex::Layer resolve() {
    if (has(names_.fused_gate_up)) {
      resolve_fused();
    } else if (has(names_.stacks.gate) || names_.singles.gate.empty()) {
      resolve_stacks();
    } else {
      resolve_singles();
    }
    return std::move(layer_);
  }

 private:
  std::string in_layer(std::string_view name) const { return base_ + std::string(name); }
  bool has(std::string_view name) const { return finder_.has(in_layer(name)); }

  // [experts, gate rows then up rows, hidden]
  void resolve_fused() {
    const MatrixInfo gate_up =
        finder_.matrix(in_layer(names_.fused_gate_up), 2 * inner_, hidden_, experts_);
    const MatrixInfo down = finder_.matrix(in_layer(names_.fused_down), hidden_, inner_, experts_);
    const int64_t unit = row_unit(gate_up.storage);
    if (unit == 0 || inner_ % unit != 0) {
      throw_error(ErrorCode::kUnsupported,
                  "{}: tensor '{}': gate and up together as {} are not "
                  "supported",
                  finder_.checkpoint_path(), gate_up.name,
                  quant::storage_name(gate_up.storage, gate_up.format));
    }
    set_formats(gate_up, gate_up, down);
    for (int64_t e = 0; e < experts_; ++e) {
      Extent* parts = layer_.parts[static_cast<size_t>(e)].data();
      set_parts(gate_up, e, 0, inner_, parts);
      set_parts(gate_up, e, inner_, inner_, parts + experts::kMatrixParts);
      set_parts(down, e, 0, hidden_, parts + 2 * experts::kMatrixParts);
    }
  }

  void resolve_stacks() {
    const FeedForwardNames& names = names_.stacks;
    const MatrixInfo gate = finder_.matrix(in_layer(names.gate), inner_, hidden_, experts_);
    const MatrixInfo up = finder_.matrix(in_layer(names.up), inner_, hidden_, experts_);
    const MatrixInfo down = finder_.matrix(in_layer(names.down), hidden_, inner_, experts_);
    set_formats(gate, up, down);
    for (int64_t e = 0; e < experts_; ++e) set_expert(e, e, gate, up, down);
  }

  void resolve_singles() {
    const FeedForwardNames& names = names_.singles;
    for (int64_t e = 0; e < experts_; ++e) {
      const auto matrix = [&](std::string_view name, int64_t rows, int64_t cols) {
        return finder_.matrix(base_ + numbered(name, e), rows, cols);
      };
      const MatrixInfo gate = matrix(names.gate, inner_, hidden_);
      const MatrixInfo up = matrix(names.up, inner_, hidden_);
      const MatrixInfo down = matrix(names.down, hidden_, inner_);
      if (e == 0) set_formats(gate, up, down);
      if (layer_.gate != gate.format || layer_.up != up.format || layer_.down != down.format ||
          layer_.storages != std::array{gate.storage, up.storage, down.storage}) {
        throw_error(ErrorCode::kUnsupported,
                    "{}: expert {} of layer {} is stored in another format than expert 0",
                    finder_.checkpoint_path(), e, number_);
      }
      set_expert(e, 0, gate, up, down);
    }
  }

  void set_formats(const MatrixInfo& gate, const MatrixInfo& up, const MatrixInfo& down) {
    layer_.gate = gate.format;
    layer_.up = up.format;
    layer_.down = down.format;
    layer_.storages = {gate.storage, up.storage, down.storage};
  }

  // Expert `e` is matrix `which` of each stack.
  void set_expert(int64_t e, int64_t which, const MatrixInfo& gate, const MatrixInfo& up,
                  const MatrixInfo& down) {
    Extent* parts = layer_.parts[static_cast<size_t>(e)].data();
    set_parts(gate, which, 0, inner_, parts);
    set_parts(up, which, 0, inner_, parts + experts::kMatrixParts);
    set_parts(down, which, 0, hidden_, parts + 2 * experts::kMatrixParts);
  }

  TensorFinder& finder_;
  const TensorNames& names_;
  const int number_;
  const std::string base_;
  const int64_t experts_, hidden_, inner_;
  experts::ExpertIndex::Layer layer_;
};

}  // namespace

experts::ExpertIndex::Layer resolve_experts(TensorFinder& finder, const ModelConfig& config,
                                            int layer) {
  return LayerResolver(finder, config, layer).resolve();
}

}  // namespace flashmoe::model

#include "convert/importance.h"

#include <fmt/format.h>

#include <cmath>

#include "base/atomic_file.h"
#include "base/error.h"
#include "format/input_file.h"
#include "format/safetensors_header.h"
#include "format/safetensors_writer.h"

namespace flashmoe::convert {

namespace {

using format::SafetensorsWriter;
using quant::DType;

// "layers.7." of a path, and what follows it; both empty for what belongs to no layer.
struct Place {
  std::string_view layer, rest;
};

Place place_of(std::string_view path) {
  const size_t begin = path.find("layers.");
  if (begin == std::string_view::npos) return {};
  const size_t dot = path.find('.', begin + 7);
  if (dot == std::string_view::npos) return {};
  return {path.substr(begin, dot + 1 - begin), path.substr(dot + 1)};
}

// The three tensors of an input, of which the last may be empty.
struct Part {
  const char* name;
  std::vector<float> InputMeans::*values;
  int dimensions;  // beyond the first
};
constexpr Part kParts[] = {{"rows", &InputMeans::rows, 0},
                           {"squares", &InputMeans::squares, 1},
                           {"moments", &InputMeans::moments, 2}};

void check(const std::string& path, const std::string& name, const InputMeans& means) {
  const auto fits = [&](const Part& part) {
    if (means.count < 1 || means.cols < 1) return false;
    size_t n = static_cast<size_t>(means.count);
    for (int i = 0; i < part.dimensions; ++i) n *= static_cast<size_t>(means.cols);
    const std::vector<float>& values = means.*part.values;
    if (values.size() != n) return part.dimensions == 2 && values.empty();
    for (const float v : values) {
      if (!std::isfinite(v)) return false;
    }
    return true;
  };
  for (const Part& part : kParts) {
    if (fits(part)) continue;
    throw_error(ErrorCode::kCorrupt,
                "{}: {}.{} is missing, has the wrong shape or holds values that are not finite; "
                "make the file again with flashmoe imatrix",
                path, name, part.name);
  }
}

}  // namespace

Importance Importance::read(const std::string& path) {
  const io::File file = format::open_input(path);
  std::map<std::string, InputMeans> inputs;
  for (const format::TensorInfo& tensor : format::read_safetensors_header(path, 0)) {
    const size_t dot = tensor.name.rfind('.');
    for (const Part& part : kParts) {
      if (dot == std::string::npos || tensor.name.substr(dot + 1) != part.name) continue;
      if (tensor.dtype != DType::kF32 ||
          tensor.shape.size() != static_cast<size_t>(1 + part.dimensions) ||
          (part.dimensions == 2 && tensor.shape[1] != tensor.shape[2])) {
        throw_error(ErrorCode::kCorrupt, "{}: {} is no importance: it has the wrong type or shape",
                    path, tensor.name);
      }
      InputMeans& means = inputs[tensor.name.substr(0, dot)];
      if (part.dimensions == 0) means.count = tensor.shape[0];
      if (part.dimensions == 1) means.cols = tensor.shape[1];
      std::vector<float>& values = means.*part.values;
      values.resize(tensor.extent.bytes / sizeof(float));
      file.read_exact(tensor.extent.offset, tensor.extent.bytes,
                      reinterpret_cast<std::byte*>(values.data()));
    }
  }
  for (const auto& [name, means] : inputs) check(path, name, means);
  if (inputs.empty()) {
    throw_error(ErrorCode::kCorrupt, "{}: holds no importance; flashmoe imatrix writes such files",
                path);
  }
  return Importance(std::move(inputs));
}

void Importance::write(const std::string& path) const {
  std::vector<SafetensorsWriter::Tensor> tensors;
  for (const auto& [name, means] : inputs_) {
    for (const Part& part : kParts) {
      if ((means.*part.values).empty()) continue;
      std::vector<int64_t> shape(static_cast<size_t>(1 + part.dimensions), means.cols);
      shape[0] = means.count;
      tensors.push_back({fmt::format("{}.{}", name, part.name), DType::kF32, std::move(shape)});
    }
  }
  AtomicFile file(path);
  file.write(format::safetensors_header(tensors, "flashmoe importance"));
  for (const auto& [name, means] : inputs_) {
    for (const Part& part : kParts) file.write(std::as_bytes(std::span(means.*part.values)));
  }
  file.commit();
}

InputStatistics Importance::find(std::string_view path, int64_t expert, int64_t cols,
                                 bool tied) const {
  const std::string name = input_of(path, tied);
  if (name.empty() || empty()) return {};
  const auto found = inputs_.find(name);
  if (found == inputs_.end() || found->second.cols != cols || expert >= found->second.count) {
    throw_error(ErrorCode::kUsage,
                "the importance file is of another model: it has no `{}` of {} columns{}", name,
                cols, expert > 0 ? fmt::format(" for {} experts", expert + 1) : "");
  }
  const InputMeans& own = found->second;
  const auto part = [&](const InputMeans& means, const std::vector<float>& values, int64_t which) {
    const size_t n = values.size() / static_cast<size_t>(means.count);
    return std::span<const float>(values).subspan(static_cast<size_t>(which) * n, n);
  };
  const bool seen = own.rows[static_cast<size_t>(expert)] > 0;
  InputStatistics result;
  if (seen) result = {part(own, own.squares, expert), part(own, own.moments, expert)};
  if (!name.ends_with(".experts")) return result;
  const auto all = inputs_.find(name.substr(0, name.rfind('.')) + ".routed");
  if (all == inputs_.end() || all->second.cols != cols) return result;
  if (!seen) result.squares = all->second.squares;
  result.moments = all->second.moments;
  return result;
}

std::string input_of(std::string_view path, bool tied) {
  if (path.ends_with("lm_head") || (tied && path.ends_with("embed_tokens"))) return "head";
  const auto [layer, rest] = place_of(path);
  const auto named = [&layer = layer](const char* input) {
    return fmt::format("{}{}", layer, input);
  };
  if (rest.starts_with("self_attn.") || rest.starts_with("linear_attn.")) {
    return named(rest.ends_with(".o_proj") || rest.ends_with(".out_proj") ? "mixer_out" : "mixer");
  }
  if (!rest.starts_with("mlp.")) return {};
  const bool down = rest.ends_with(".down_proj");
  if (rest.starts_with("mlp.switch_mlp.")) return named(down ? "experts_down" : "experts");
  return named(down ? "down" : "routed");
}

}  // namespace flashmoe::convert

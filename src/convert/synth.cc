#include "convert/synth.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <future>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/error.h"
#include "base/format_units.h"
#include "base/log.h"
#include "base/stop_signal.h"
#include "base/timer.h"
#include "convert/mlx_config.h"
#include "convert/mlx_tensors.h"
#include "convert/new_folder.h"
#include "convert/synth_shapes.h"
#include "convert/synth_tensors.h"
#include "convert/synth_values.h"
#include "format/checkpoint.h"
#include "format/json_file.h"
#include "format/matrix.h"
#include "format/safetensors_writer.h"
#include "model/config.h"

namespace flashmoe::convert {

namespace fs = std::filesystem;

namespace {

using format::SafetensorsWriter;
using nlohmann::json;
using quant::DType;

constexpr int kPlainBits = 16;
constexpr int kGroup = 64;
constexpr uint64_t kHeadroomBytes = uint64_t{64} << 20;  // headers, index and file system
constexpr size_t kPieceBytes = size_t{8} << 20;

// A run of the output: one tensor of a file.
struct Part {
  SafetensorsWriter::Tensor tensor;
  uint64_t key = 0;
  std::optional<Distribution> values;  // nullopt: codes, for which any bits will do

  uint64_t bytes() const {
    uint64_t bytes = quant::dtype_bytes(tensor.dtype);
    for (const int64_t size : tensor.shape) bytes *= static_cast<uint64_t>(size);
    return bytes;
  }
};

// The tensors as if they were there already, for what plans a conversion. Each is a file of its
// own, so an extent's file tells which tensor it came from.
class PlannedCheckpoint final : public format::Checkpoint {
 public:
  PlannedCheckpoint(const std::vector<SynthTensor>& tensors, const json& config) : config_(config) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      const SynthTensor& t = tensors[i];
      tensors_.push_back({t.name, t.dtype, t.shape, {static_cast<int>(i), 0, t.bytes()}, ""});
      files_.push_back(t.name);
    }
    std::sort(tensors_.begin(), tensors_.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
  }

  const std::string& path() const override { return path_; }
  const std::vector<std::string>& files() const override { return files_; }
  const json& config() const override { return config_; }
  const std::vector<format::TensorInfo>& tensors() const override { return tensors_; }
  const format::TensorInfo* find(std::string_view name) const override {
    const auto at = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                     [](const auto& t, std::string_view n) { return t.name < n; });
    return at != tensors_.end() && at->name == name ? &*at : nullptr;
  }

 private:
  std::optional<format::MatrixInfo> resolve_matrix(
      std::string_view prefix, std::optional<int64_t> expected_cols) const override {
    return format::resolve_matrix(*this, {}, prefix, expected_cols);
  }

  const std::string path_;
  const json& config_;
  std::vector<std::string> files_;
  std::vector<format::TensorInfo> tensors_;
};

// Makes the bytes of all parts, one after the other.
class PartStream {
 public:
  explicit PartStream(const std::vector<Part>& parts) : parts_(parts) {}

  // Returns how many bytes it filled: 0 at the end, else the most that whole steps of values allow.
  size_t fill(std::span<std::byte> piece) {
    size_t filled = 0;
    while (part_ < parts_.size()) {
      const Part& part = parts_[part_];
      const uint64_t left = part.bytes() - done_bytes_;
      const size_t value_bytes = part.values ? quant::dtype_bytes(part.tensor.dtype) : 2;
      const size_t step_bytes = kStreamStep * value_bytes;
      const size_t room = (piece.size() - filled) / step_bytes * step_bytes;
      if (left > 0 && room == 0) break;
      const auto count = static_cast<size_t>(std::min<uint64_t>(left, room));
      const std::span<std::byte> out = piece.subspan(filled, count);
      const uint64_t first = done_bytes_ / value_bytes;
      if (part.values) {
        fill_values(part.key, first, table(*part.values, part.tensor.dtype), part.tensor.dtype,
                    out);
      } else {
        fill_bits(part.key, first, out);
      }
      filled += count;
      done_bytes_ += count;
      if (count == left) {
        ++part_;
        done_bytes_ = 0;
      }
    }
    return filled;
  }

 private:
  const std::vector<std::byte>& table(const Distribution& values, DType type) {
    std::vector<std::byte>& table = tables_[{values, type}];
    if (table.empty()) table = value_table(values, type);
    return table;
  }

  const std::vector<Part>& parts_;
  size_t part_ = 0;
  uint64_t done_bytes_ = 0;  // of this part
  std::map<std::pair<Distribution, DType>, std::vector<std::byte>> tables_;
};

void check_options(const SynthOptions& options) {
  constexpr int kBits[] = {16, 8, 6, 5, 4, 3, 2};
  if (std::find(std::begin(kBits), std::end(kBits), options.bits) == std::end(kBits) ||
      options.layers < 0) {
    throw_error(ErrorCode::kUsage,
                "{} bits, {} layers: possible are 16, 8, 6, 5, 4, 3 or 2 bits, and 0 (all) or more "
                "layers",
                options.bits, options.layers);
  }
}

json config_of(const std::string& model) {
  if (const std::optional<json> config = published_config(model)) return *config;
  std::error_code error;
  if (fs::is_regular_file(model, error)) return format::read_json_file(model);
  throw_error(ErrorCode::kNotFound, "{}: is neither a config.json nor one of {}", model,
              fmt::join(published_names(), ", "));
}

// What the source says of its own weights is not so here.
void describe_plain_weights(json* config) {
  for (const char* key : {"quantization", "quantization_config", "vision_config"}) {
    config->erase(key);
  }
  for (const char* key : {"dtype", "torch_dtype"}) {
    if (config->contains(key)) (*config)[key] = "bfloat16";
  }
}

std::vector<Part> plain_parts(const std::vector<SynthTensor>& tensors, uint64_t seed) {
  std::vector<Part> parts;
  for (const SynthTensor& t : tensors) {
    parts.push_back({{t.name, t.dtype, t.shape}, stream_key(seed, t.name), t.values});
  }
  return parts;
}

// Codes are equally likely; scale and bias give them the mean 0 and the wanted spread.
void add_affine_parts(const MlxTensor& tensor, const Distribution& wanted, uint64_t seed,
                      std::vector<Part>* parts) {
  CHECK(wanted.kind == Distribution::Kind::kNormal && wanted.mean == 0);
  const auto levels = static_cast<float>(1 << tensor.format.bits);
  const float scale = wanted.spread * std::sqrt(12 / (levels * levels - 1));
  std::vector<SafetensorsWriter::Tensor> stored = tensor.stored();
  CHECK(stored.size() == 3);
  const uint64_t scales_key = stream_key(seed, stored[1].name);  // of both: they belong together
  parts->push_back({stored[0], stream_key(seed, stored[0].name), std::nullopt});
  parts->push_back({stored[1], scales_key, Distribution{Distribution::Kind::kScale, scale, 0}});
  parts->push_back(
      {stored[2], scales_key, Distribution{Distribution::Kind::kBias, scale, (levels - 1) / 2}});
}

std::vector<Part> mlx_parts(const std::vector<SynthTensor>& source,
                            const std::vector<MlxTensor>& tensors, uint64_t seed) {
  std::vector<Part> parts;
  for (const MlxTensor& tensor : tensors) {
    Distribution values = source[static_cast<size_t>(tensor.matrices.front().codes.file)].values;
    if (tensor.change == MlxTensor::Change::kPlusOne) values.mean += 1;
    if (tensor.format.encoding == quant::Encoding::kAffine) {
      add_affine_parts(tensor, values, seed, &parts);
    } else {
      parts.push_back(
          {{tensor.name, tensor.dtype, tensor.shape}, stream_key(seed, tensor.name), values});
    }
  }
  return parts;
}

uint64_t total_bytes(const std::vector<Part>& parts) {
  uint64_t total = 0;
  for (const Part& part : parts) {
    if (__builtin_add_overflow(total, part.bytes(), &total)) {
      return std::numeric_limits<uint64_t>::max() - kHeadroomBytes;
    }
  }
  return total;
}

// One thread makes a piece while this one writes the piece before.
void write_weights(const std::vector<Part>& parts, const std::string& folder,
                   SafetensorsWriter::Options options) {
  std::vector<SafetensorsWriter::Tensor> tensors;
  for (const Part& part : parts) tensors.push_back(part.tensor);
  SafetensorsWriter writer(folder, std::move(tensors), std::move(options));
  PartStream stream(parts);
  std::array<std::vector<std::byte>, 2> pieces;
  for (auto& piece : pieces) piece.resize(kPieceBytes);
  Progress progress("writing", total_bytes(parts));
  uint64_t done_bytes = 0;
  size_t ready = stream.fill(pieces[0]);
  for (size_t i = 1; ready > 0; ++i) {
    if (stop_requested()) throw Error(ErrorCode::kCancelled, "stopped");
    std::future<size_t> next =
        std::async(std::launch::async, [&] { return stream.fill(pieces[i % 2]); });
    writer.write(std::span(pieces[(i - 1) % 2]).first(ready));
    progress.update(done_bytes += ready);
    ready = next.get();
  }
  writer.finish();
}

}  // namespace

void synth(const std::string& model, const std::string& destination, const SynthOptions& options) {
  check_options(options);
  json config_json = config_of(model);
  model::ModelConfig config = model::parse_model_config(config_json, model);
  const int whole_layers = config.layers;
  if (options.layers > whole_layers) {
    throw_error(ErrorCode::kUsage, "{}: has only {} layers, not {}", model, whole_layers,
                options.layers);
  }
  if (options.layers > 0) {
    config_json = first_layers(std::move(config_json), options.layers);
    config = model::parse_model_config(config_json, model);
  }
  const bool multimodal = has_text_config(config_json);
  describe_plain_weights(&config_json);
  if (multimodal) describe_plain_weights(&config_json["text_config"]);

  const std::vector<SynthTensor> tensors = published_tensors(config, multimodal, whole_layers);
  std::vector<Part> parts;
  SafetensorsWriter::Options writer_options;
  if (options.bits == kPlainBits) {
    parts = plain_parts(tensors, options.seed);
    writer_options.format = "pt";
  } else {
    const Recipe recipe =
        parse_recipe(built_in_recipe("minmax", options.bits), "minmax", {options.bits, kGroup});
    const PlannedCheckpoint source(tensors, config_json);
    const std::vector<MlxTensor> mlx = plan_mlx(source, config, recipe).tensors;
    parts = mlx_parts(tensors, mlx, options.seed);
    config_json = mlx_config(config_json, config, mlx, recipe.format);
  }

  NewFolder folder(destination);
  const uint64_t bytes = total_bytes(parts);
  folder.check_space(bytes + kHeadroomBytes);
  double seconds = 0;
  {
    const Timer timer(&seconds);
    write_weights(parts, folder.temporary_path().string(), writer_options);
  }
  AtomicFile file((folder.temporary_path() / "config.json").string());
  file.write(config_json.dump(2) + "\n");
  file.commit();
  folder.commit();
  log_info("{}: {} of random weights, written in {:.1f} s ({}/s); there is no tokenizer",
           destination, format_bytes(bytes), seconds,
           format_bytes(static_cast<uint64_t>(static_cast<double>(bytes) / seconds)));
}

}  // namespace flashmoe::convert

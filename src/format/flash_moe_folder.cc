#include "format/flash_moe_folder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "format/input_file.h"
#include "format/json_file.h"
#include "format/matrix.h"
#include "format/quantization.h"

namespace flashmoe::format {

namespace fs = std::filesystem;

namespace {

using nlohmann::json;
using quant::DType;

constexpr const char* kManifestName = "model_weights.json";
constexpr const char* kWeightsName = "model_weights.bin";
constexpr uint64_t kGroup = 64;  // inputs that share a scale
constexpr uint64_t kMaxSize = uint64_t{1} << 20;
constexpr size_t kMaxRank = 16;

struct Kind {
  const char* folder;
  uint64_t bits;
  bool lz4;
};
constexpr Kind kKinds[] = {{"packed_experts", 4, false},
                           {"packed_experts_lz4", 4, true},
                           {"packed_experts_2bit", 2, false}};

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

const Kind* find_kind(const fs::path& folder) {
  const auto* kind = std::find_if(std::begin(kKinds), std::end(kKinds),
                                  [&](const Kind& k) { return folder.filename() == k.folder; });
  return kind == std::end(kKinds) ? nullptr : kind;
}

fs::path without_slash(const std::string& path) {
  const fs::path result(path);
  return result.has_filename() ? result : result.parent_path();
}

uint64_t load_u32(const std::byte* from) {
  uint64_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | std::to_integer<uint64_t>(from[i]);
  return value;
}

// The nine tensors of an expert in their order in its record, with the shape of each.
struct Part {
  const char* name;  // after "switch_mlp."
  DType dtype;
  std::array<int64_t, 2> shape;
  uint64_t offset, bytes;
};

struct Record {
  std::vector<Part> parts;
  uint64_t bytes = 0;
};

Record describe_record(uint64_t hidden, uint64_t inner, uint64_t bits) {
  Record record;
  const auto add = [&](const char* name, DType dtype, uint64_t rows, uint64_t cols) {
    const uint64_t bytes = rows * cols * quant::dtype_bytes(dtype);
    record.parts.push_back({name,
                            dtype,
                            {static_cast<int64_t>(rows), static_cast<int64_t>(cols)},
                            record.bytes,
                            bytes});
    record.bytes += bytes;
  };
  add("gate_proj.weight", DType::kU32, inner, hidden * bits / 32);
  add("gate_proj.scales", DType::kBf16, inner, hidden / kGroup);
  add("gate_proj.biases", DType::kBf16, inner, hidden / kGroup);
  add("up_proj.weight", DType::kU32, inner, hidden * bits / 32);
  add("up_proj.scales", DType::kBf16, inner, hidden / kGroup);
  add("up_proj.biases", DType::kBf16, inner, hidden / kGroup);
  add("down_proj.weight", DType::kU32, hidden, inner * bits / 32);
  add("down_proj.scales", DType::kBf16, hidden, inner / kGroup);
  add("down_proj.biases", DType::kBf16, hidden, inner / kGroup);
  return record;
}

class FlashMoe : public Checkpoint {
 public:
  explicit FlashMoe(const std::string& path)
      : path_(path),
        folder_(flash_moe_folder(path)),
        config_(flash_moe_config(folder_.string())),
        quantization_(parse_quantization(config_, (folder_ / "config.json").string())) {
    if (!is_there(folder_ / "config.json")) {
      notes_.push_back(fmt::format("{} has no config.json: took {}'s own configuration, as a {}",
                                   folder_.string(), kManifestName,
                                   config_["model_type"].get<std::string>()));
    }
    read_manifest();
    choose_experts();
    for (int layer : routed_layers_) add_layer(layer);
    std::sort(tensors_.begin(), tensors_.end(),
              [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  }

  const std::string& path() const override { return path_; }
  const std::vector<std::string>& files() const override { return files_; }
  const json& config() const override { return config_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  std::vector<std::string> notes() const override { return notes_; }
  const FileRecords* records(int file) const override {
    const auto found = records_.find(file);
    return found == records_.end() ? nullptr : &found->second;
  }

  const TensorInfo* find(std::string_view name) const override {
    const auto found = std::lower_bound(
        tensors_.begin(), tensors_.end(), name,
        [](const TensorInfo& tensor, std::string_view key) { return tensor.name < key; });
    return found != tensors_.end() && found->name == name ? &*found : nullptr;
  }

 private:
  std::optional<MatrixInfo> resolve_matrix(std::string_view prefix,
                                           std::optional<int64_t> expected_cols) const override {
    return format::resolve_matrix(*this, quantization_, prefix, expected_cols);
  }

  static uint64_t number(const json& object, const char* key, const std::string& where) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number_unsigned() ||
        found->get<uint64_t>() > std::numeric_limits<int64_t>::max()) {
      throw_error(ErrorCode::kCorrupt, "{}: its {} is missing or no whole number", where, key);
    }
    return found->get<uint64_t>();
  }

  // The dense part. Tensors keep their names, less the "language_model." that flash-moe drops.
  void read_manifest() {
    const std::string path = (folder_ / kManifestName).string();
    const json manifest = read_json_file(path);
    const auto tensors = manifest.is_object() ? manifest.find("tensors") : manifest.end();
    if (tensors == manifest.end() || !tensors->is_object() || tensors->empty()) {
      throw_error(ErrorCode::kCorrupt, "{}: has no tensors", path);
    }
    files_.push_back((folder_ / kWeightsName).string());
    const uint64_t file_bytes = open_input(files_.front()).size();
    for (const auto& [name, entry] : tensors->items()) {
      tensors_.push_back(parse_tensor(name, entry, file_bytes, path));
      if (name.find(".switch_mlp.") != std::string::npos) has_own_experts_ = true;
      note_layer(name);
    }
  }

  static TensorInfo parse_tensor(const std::string& name, const json& entry, uint64_t file_bytes,
                                 const std::string& path) {
    const std::string where = fmt::format("{}: tensor {}", path, name);
    if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() ||
        !entry.contains("shape") || !entry["shape"].is_array() ||
        entry["shape"].size() > kMaxRank) {
      throw_error(ErrorCode::kCorrupt, "{}: its description has no dtype or shape", where);
    }
    TensorInfo tensor;
    tensor.name = name;
    tensor.dtype_name = entry["dtype"].get<std::string>();
    tensor.dtype = quant::dtype_named(tensor.dtype_name);
    tensor.extent = {0, number(entry, "offset", where), number(entry, "size", where)};
    uint64_t bytes = quant::dtype_bytes(tensor.dtype);
    for (const json& size : entry["shape"]) {
      if (!size.is_number_unsigned() || size.get<uint64_t>() > uint64_t{1} << 40 ||
          __builtin_mul_overflow(bytes, size.get<uint64_t>(), &bytes)) {
        throw_error(ErrorCode::kCorrupt, "{}: its shape {} is not one of sizes", where,
                    brief(entry["shape"]));
      }
      tensor.shape.push_back(size.get<int64_t>());
    }
    if (tensor.dtype != DType::kOther && bytes != tensor.extent.bytes) {
      throw_error(ErrorCode::kCorrupt, "{}: has {} bytes, but type and shape call for {}", where,
                  tensor.extent.bytes, bytes);
    }
    if (tensor.extent.bytes > file_bytes ||
        tensor.extent.offset > file_bytes - tensor.extent.bytes) {
      throw_error(ErrorCode::kCorrupt, "{}: ends at {}, but {} has {} bytes; was it written whole?",
                  where, tensor.extent.offset + tensor.extent.bytes, kWeightsName, file_bytes);
    }
    return tensor;
  }

  // A layer with a router has experts.
  void note_layer(const std::string& name) {
    constexpr std::string_view kStart = "model.layers.", kEnd = ".mlp.gate.weight";
    if (!name.starts_with(kStart) || !name.ends_with(kEnd)) return;
    const std::string digits =
        name.substr(kStart.size(), name.size() - kStart.size() - kEnd.size());
    if (digits.empty() || digits.size() > 5 ||
        digits.find_first_not_of("0123456789") != std::string::npos) {
      return;
    }
    routed_layers_.push_back(std::stoi(digits));
  }

  void choose_experts() {
    kind_ = find_kind(without_slash(path_));
    if (kind_ == nullptr && has_own_experts_) {
      routed_layers_.clear();  // they are in model_weights.bin
      return;
    }
    std::vector<const Kind*> there;
    for (const Kind& kind : kKinds) {
      if (is_there(folder_ / kind.folder)) there.push_back(&kind);
    }
    if (kind_ == nullptr && there.empty()) {
      throw_error(ErrorCode::kNotFound, "{}: has no experts: no {}, {} or {}", folder_.string(),
                  kKinds[0].folder, kKinds[1].folder, kKinds[2].folder);
    }
    if (kind_ == nullptr) kind_ = there.front();
    std::string others;
    for (const Kind* other : there) {
      if (other != kind_)
        others +=
            fmt::format("; for {} name {}", other->folder, (folder_ / other->folder).string());
    }
    notes_.push_back(fmt::format("a flash-moe model: experts of {} bits from {}{}", kind_->bits,
                                 kind_->folder, others));
    const json& text = config_.contains("text_config") ? config_["text_config"] : config_;
    const std::string where = (folder_ / "config.json").string();
    const auto size = [&](const char* key, uint64_t unit) {
      const uint64_t value = number(text, key, where);
      if (value == 0 || value > kMaxSize || value % unit != 0) {
        throw_error(ErrorCode::kUnsupported, "{}: {} is {}, not a multiple of {}", where, key,
                    value, unit);
      }
      return value;
    };
    experts_ = static_cast<int64_t>(size("num_experts", 1));
    record_ = describe_record(size("hidden_size", kGroup), size("moe_intermediate_size", kGroup),
                              kind_->bits);
  }

  void add_layer(int layer) {
    const fs::path stem = folder_ / kind_->folder / fmt::format("layer_{:02}", layer);
    const std::string whole = stem.string() + ".bin";
    const std::string prefix = fmt::format("model.layers.{}.mlp.", layer);
    std::error_code ignored;
    if (kind_->lz4) {
      add_file(whole);
      records_.emplace(static_cast<int>(files_.size()) - 1, read_places(whole));
      add_stack(prefix);
    } else if (fs::is_directory(stem, ignored)) {
      for (int64_t e = 0; e < experts_; ++e) add_single(prefix, stem, e);
    } else {
      check_size(add_file(whole), static_cast<uint64_t>(experts_) * record_.bytes);
      add_stack(prefix);
    }
  }

  io::File add_file(const std::string& path) {
    files_.push_back(path);
    return open_input(path);
  }

  static void check_size(const io::File& file, uint64_t bytes) {
    if (file.size() == bytes) return;
    throw_error(
        ErrorCode::kCorrupt,
        "{}: has {} bytes, but its experts take {}; was it written whole, and is it of this "
        "model?",
        file.path(), file.size(), bytes);
  }

  // All experts of a layer in the last file, one record after the other.
  void add_stack(const std::string& prefix) {
    const int file = static_cast<int>(files_.size()) - 1;
    for (const Part& part : record_.parts) {
      tensors_.push_back({prefix + "switch_mlp." + part.name,
                          part.dtype,
                          {experts_, part.shape[0], part.shape[1]},
                          {file, part.offset, static_cast<uint64_t>(experts_) * part.bytes},
                          quant::dtype_name(part.dtype),
                          record_.bytes});
    }
  }

  // One expert in a file of its own, layer_00/expert_000.bin.
  void add_single(const std::string& prefix, const fs::path& folder, int64_t expert) {
    fs::path path;
    for (const std::string& name :
         {fmt::format("expert_{:03}.bin", expert), fmt::format("expert_{:02}.bin", expert),
          fmt::format("expert_{}.bin", expert)}) {
      if (path.empty() && is_there(folder / name)) path = folder / name;
    }
    if (path.empty()) {
      throw_error(ErrorCode::kNotFound, "{}: has no file expert_{:03}.bin", folder.string(),
                  expert);
    }
    check_size(add_file(path.string()), record_.bytes);
    for (const Part& part : record_.parts) {
      tensors_.push_back({fmt::format("{}experts.{}.{}", prefix, expert, part.name),
                          part.dtype,
                          {part.shape[0], part.shape[1]},
                          {static_cast<int>(files_.size()) - 1, part.offset, part.bytes},
                          quant::dtype_name(part.dtype)});
    }
  }

  // The index at the beginning of a compressed layer: offset (u64), bytes (u32) and raw bytes (u32)
  // of each expert.
  FileRecords read_places(const std::string& path) const {
    constexpr uint64_t kEntryBytes = 16;
    const io::File file = open_input(path);
    FileRecords records;
    records.record_bytes = record_.bytes;
    records.content_bytes = static_cast<uint64_t>(experts_) * record_.bytes;
    std::vector<std::byte> index(static_cast<uint64_t>(experts_) * kEntryBytes);
    file.read_exact(0, index.size(), index.data());
    for (size_t at = 0; at < index.size(); at += kEntryBytes) {
      const std::byte* entry = index.data() + at;
      const FileRecords::Place place = {load_u32(entry) | load_u32(entry + 4) << 32,
                                        load_u32(entry + 8)};
      if (load_u32(entry + 12) != record_.bytes || place.bytes == 0 || place.bytes > file.size() ||
          place.bytes > record_.bytes + kEntryBytes * 4096 ||
          place.offset > file.size() - place.bytes) {
        throw_error(
            ErrorCode::kCorrupt,
            "{}: expert {} is at offset {} with {} of {} bytes, which does not fit the file "
            "or the model",
            path, at / kEntryBytes, place.offset, place.bytes, load_u32(entry + 12));
      }
      records.lz4.push_back(place);
    }
    return records;
  }

  const std::string path_;
  const fs::path folder_;
  const json config_;
  const QuantizationConfig quantization_;
  std::vector<std::string> files_;
  std::vector<TensorInfo> tensors_;  // sorted by name
  std::map<int, FileRecords> records_;
  std::vector<std::string> notes_;
  std::vector<int> routed_layers_;
  bool has_own_experts_ = false;
  const Kind* kind_ = nullptr;
  int64_t experts_ = 0;
  Record record_;
};

}  // namespace

bool is_flash_moe(const std::string& path) {
  return is_there(fs::path(flash_moe_folder(path)) / kManifestName);
}

std::string flash_moe_folder(const std::string& path) {
  const fs::path folder = without_slash(path);
  if (find_kind(folder) == nullptr) return path;
  return folder.has_parent_path() ? folder.parent_path().string() : ".";
}

json flash_moe_config(const std::string& folder) {
  const std::string path = (fs::path(folder) / "config.json").string();
  const bool own = is_there(path);
  json config = read_json_file(own ? path : (fs::path(folder) / kManifestName).string());
  if (!own) {
    config = config.is_object() && config.contains("config") ? json(config["config"]) : json();
  }
  if (!config.is_object()) {
    throw_error(ErrorCode::kCorrupt, "{}: its configuration is not a JSON object", folder);
  }
  if (!own && !config.contains("model_type")) config["model_type"] = "qwen3_5_moe_text";
  return config;
}

std::unique_ptr<Checkpoint> open_flash_moe(const std::string& path) {
  return std::make_unique<FlashMoe>(path);
}

}  // namespace flashmoe::format

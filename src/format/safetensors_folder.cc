#include "format/safetensors_folder.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "format/json_file.h"
#include "format/matrix.h"
#include "format/part_names.h"
#include "format/quantization.h"
#include "format/safetensors_header.h"

namespace flashmoe::format {

namespace fs = std::filesystem;

namespace {

using nlohmann::json;

constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kSingleName = "model.safetensors";

// Which shard the index says a tensor lies in.
using WeightMap = std::map<std::string, std::string, std::less<>>;

// Names in the index are other people's: they must stay inside the folder. What a file in it links
// to is the owner's choice, as in the Hugging Face cache.
void check_shard_name(const std::string& index_path, const std::string& tensor,
                      const std::string& shard) {
  const fs::path path(shard);
  const bool leaves = path.is_absolute() || std::find(path.begin(), path.end(), "..") != path.end();
  if (shard.empty() || leaves || shard.find('\0') != std::string::npos ||
      path.extension() != ".safetensors") {
    throw_error(ErrorCode::kCorrupt,
                "{}: tensor {}: its file {} is not a .safetensors file in the model's folder",
                index_path, tensor, brief(shard));
  }
}

WeightMap read_index(const std::string& index_path) {
  const json index = read_json_file(index_path);
  const auto found = index.is_object() ? index.find("weight_map") : index.end();
  if (found == index.end() || !found->is_object() || found->empty()) {
    throw_error(ErrorCode::kCorrupt, "{}: has no weight_map from tensors to files", index_path);
  }
  WeightMap map;
  for (const auto& [tensor, shard] : found->items()) {
    if (!shard.is_string()) {
      throw_error(ErrorCode::kCorrupt, "{}: tensor {}: its file is {}, not a name", index_path,
                  tensor, brief(shard));
    }
    check_shard_name(index_path, tensor, shard.get<std::string>());
    map.emplace(tensor, shard.get<std::string>());
  }
  return map;
}

// The weight files of a folder without index: model.safetensors, else every *.safetensors; those
// that count themselves must all be there.
std::vector<std::string> list_shards(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  bool incomplete = false;
  bool pickled = false;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path name = entry->path().filename();
    if (name.extension() == ".safetensors") names.push_back(name.string());
    incomplete = incomplete || name.extension() == ".incomplete";
    pickled = pickled || name.extension() == ".bin" || name.extension() == ".pth";
  }
  if (error)
    throw_error(ErrorCode::kIo, "{}: cannot be listed: {}", folder.string(), error.message());
  if (std::find(names.begin(), names.end(), kSingleName) != names.end()) return {kSingleName};
  if (names.empty()) {
    throw_error(ErrorCode::kNotFound, "{}: has no weights: no {}, no {}{}", folder.string(),
                kIndexName, "*.safetensors",
                incomplete ? "; its download did not finish, start it again"
                : pickled  ? "; PyTorch's .bin and .pth files are not supported"
                           : "");
  }
  std::sort(names.begin(), names.end());
  if (const auto first = parse_part_name(names.front(), ".safetensors")) {
    check_parts_present(folder.string(), first->all());
  }
  return names;
}

class SafetensorsFolder : public Checkpoint {
 public:
  explicit SafetensorsFolder(const std::string& folder) : path_(folder) {
    const std::string config_path = (fs::path(folder) / "config.json").string();
    config_ = read_json_file(config_path);
    if (!config_.is_object()) {
      throw_error(ErrorCode::kCorrupt, "{}: is not a JSON object", config_path);
    }
    quantization_ = parse_quantization(config_, config_path);

    const std::string index_path = (fs::path(folder) / kIndexName).string();
    std::error_code ignored;
    if (fs::exists(fs::symlink_status(index_path, ignored))) {
      const WeightMap map = read_index(index_path);
      std::vector<std::string> names;
      for (const auto& [tensor, shard] : map) names.push_back(shard);
      std::sort(names.begin(), names.end());
      names.erase(std::unique(names.begin(), names.end()), names.end());
      check_parts_present(folder, names);
      read_headers(names);
      check_index(index_path, map);
    } else {
      read_headers(list_shards(folder));
    }
  }

  const std::string& path() const override { return path_; }
  const std::vector<std::string>& files() const override { return files_; }
  const json& config() const override { return config_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }

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

  void read_headers(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      files_.push_back((fs::path(path_) / name).string());
      std::vector<TensorInfo> tensors =
          read_safetensors_header(files_.back(), static_cast<int>(files_.size()) - 1);
      std::move(tensors.begin(), tensors.end(), std::back_inserter(tensors_));
    }
    std::stable_sort(tensors_.begin(), tensors_.end(),
                     [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
    const auto twice =
        std::adjacent_find(tensors_.begin(), tensors_.end(),
                           [](const auto& a, const auto& b) { return a.name == b.name; });
    if (twice != tensors_.end()) {
      throw_error(ErrorCode::kCorrupt, "{}: tensor {}: is also in {}", file_of(twice[1]),
                  twice->name, file_of(*twice));
    }
  }

  // Every tensor is where the index says, and the index knows every tensor.
  void check_index(const std::string& index_path, const WeightMap& map) const {
    for (const auto& [name, shard] : map) {
      const TensorInfo* tensor = find(name);
      const std::string file = (fs::path(path_) / shard).string();
      if (tensor == nullptr || file_of(*tensor) != file) {
        throw_error(ErrorCode::kCorrupt, "{}: tensor {}: is not in {}, where the index has it",
                    index_path, name, file);
      }
    }
    for (const TensorInfo& tensor : tensors_) {
      if (map.find(tensor.name) == map.end()) {
        throw_error(ErrorCode::kCorrupt, "{}: tensor {}: is missing from {}", file_of(tensor),
                    tensor.name, kIndexName);
      }
    }
  }

  const std::string& file_of(const TensorInfo& tensor) const {
    return files_[static_cast<size_t>(tensor.extent.file)];
  }

  std::string path_;
  json config_;
  QuantizationConfig quantization_;
  std::vector<std::string> files_;
  std::vector<TensorInfo> tensors_;  // sorted by name
};

}  // namespace

std::unique_ptr<Checkpoint> open_safetensors_folder(const std::string& folder) {
  return std::make_unique<SafetensorsFolder>(folder);
}

}  // namespace flashmoe::format

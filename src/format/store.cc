#include "format/store.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/error.h"
#include "format/gguf_checkpoint.h"
#include "format/input_file.h"
#include "format/json_file.h"
#include "format/matrix.h"
#include "format/quantization.h"

namespace flashmoe::format {

namespace fs = std::filesystem;

namespace {

std::string in_folder(const std::string& folder, const std::string& name) {
  return (fs::path(folder) / name).string();
}

class Store : public Checkpoint {
 public:
  explicit Store(const std::string& folder)
      : path_(folder), manifest_(read_store_manifest(folder)) {
    const std::string manifest_path = in_folder(folder, kStoreManifestName);
    for (const StoreManifest::WeightFile& file : manifest_.weights) {
      files_.push_back(in_folder(folder, file.name));
      check_size(files_.back(), file.records.content_bytes);
    }
    if (manifest_.convention == kStoreGguf) {
      config_ = read_gguf_metadata(in_folder(folder, kStoreMetadataName));
    } else if (manifest_.convention == kStoreSafetensors) {
      const std::string config_path = in_folder(folder, "config.json");
      config_ = read_json_file(config_path);
      if (!config_.is_object()) {
        throw_error(ErrorCode::kCorrupt, "{}: is not a JSON object", config_path);
      }
      quantization_ = parse_quantization(config_, config_path);
    } else {
      throw_error(ErrorCode::kUnsupported,
                  "{}: its tensors follow the convention {}, not known here", manifest_path,
                  brief(manifest_.convention));
    }
    tensors_ = store_tensors(manifest_, manifest_path);
  }

  const std::string& path() const override { return path_; }
  const std::vector<std::string>& files() const override { return files_; }
  const nlohmann::json& config() const override { return config_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const FileRecords* records(int file) const override {
    return &manifest_.weights[static_cast<size_t>(file)].records;
  }

  const TensorInfo* find(std::string_view name) const override {
    const auto found = std::lower_bound(
        tensors_.begin(), tensors_.end(), name,
        [](const TensorInfo& tensor, std::string_view key) { return tensor.name < key; });
    return found != tensors_.end() && found->name == name ? &*found : nullptr;
  }

  void check_companions() const override {
    for (const StoreManifest::Companion& file : manifest_.companions) {
      const std::string path = in_folder(path_, file.name);
      check_size(path, file.bytes);
      const std::string text = file.bytes > 0 ? read_text(io::File(path), 0, file.bytes) : "";
      if (checksum(std::as_bytes(std::span(text))) != file.xxh3) {
        throw_error(ErrorCode::kCorrupt,
                    "{}: is damaged or was changed: it does not have the checksum that it was "
                    "packed with",
                    path);
      }
    }
  }

 private:
  std::optional<MatrixInfo> resolve_matrix(std::string_view prefix,
                                           std::optional<int64_t> expected_cols) const override {
    if (std::optional<MatrixInfo> matrix = interleaved_matrix(prefix)) return matrix;
    if (manifest_.convention == kStoreGguf) {
      return resolve_gguf_matrix(*this, prefix, expected_cols);
    }
    return format::resolve_matrix(*this, quantization_, prefix, expected_cols);
  }

  std::optional<MatrixInfo> interleaved_matrix(std::string_view prefix) const {
    const TensorInfo* tensor = find(std::string(prefix) + ".weight");
    if (tensor == nullptr) tensor = find(prefix);
    if (tensor == nullptr || !tensor->interleaved) return std::nullopt;
    MatrixInfo matrix;
    matrix.name = prefix;
    matrix.format = *tensor->interleaved;
    matrix.count = tensor->shape.size() == 3 ? tensor->shape[0] : 1;
    matrix.rows = tensor->shape[tensor->shape.size() - 2];
    matrix.cols = tensor->shape.back();
    matrix.storage.kind = quant::Storage::Kind::kInterleaved;
    matrix.stride = tensor->slice_stride;
    matrix.add_part(&MatrixInfo::codes, *tensor);
    return matrix;
  }

  static void check_size(const std::string& path, uint64_t bytes) {
    std::error_code error;
    const uint64_t there = fs::file_size(path, error);
    if (error) {
      throw_error(ErrorCode::kNotFound, "{}: cannot be read, but the store's manifest lists it: {}",
                  path, error.message());
    }
    if (there != bytes) {
      throw_error(ErrorCode::kCorrupt, "{}: has {} bytes, but was packed with {}", path, there,
                  bytes);
    }
  }

  std::string path_;
  StoreManifest manifest_;
  nlohmann::json config_;
  QuantizationConfig quantization_;  // of config.json
  std::vector<std::string> files_;
  std::vector<TensorInfo> tensors_;  // sorted by name
};

}  // namespace

bool is_store(const std::string& folder) {
  std::error_code ignored;
  return fs::exists(in_folder(folder, kStoreManifestName), ignored);
}

std::string store_text_source(const std::string& folder) {
  const std::string metadata = in_folder(folder, kStoreMetadataName);
  std::error_code ignored;
  return fs::exists(metadata, ignored) ? metadata : folder;
}

StoreManifest read_store_manifest(const std::string& folder) {
  const std::string path = in_folder(folder, kStoreManifestName);
  const io::File file = open_input(path);
  if (file.size() > kMaxJsonFileBytes) {
    throw_error(ErrorCode::kCorrupt, "{}: has {} bytes, too many for a manifest", path,
                file.size());
  }
  const std::string text = read_text(file, 0, file.size());
  const std::string checksum_path = in_folder(folder, kStoreChecksumName);
  const io::File checksum_file = open_input(checksum_path);
  const std::string expected =
      read_text(checksum_file, 0, std::min<uint64_t>(checksum_file.size(), kChecksumDigits + 2));
  if (expected != checksum_text(checksum(std::as_bytes(std::span(text)))) + "\n") {
    throw_error(ErrorCode::kCorrupt, "{}: is damaged: it does not have the checksum in {}", path,
                checksum_path);
  }
  return parse_store_manifest(text, path);
}

std::unique_ptr<Checkpoint> open_store(const std::string& folder) {
  return std::make_unique<Store>(folder);
}

}  // namespace flashmoe::format

#include "format/gguf_checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "format/gguf_header.h"
#include "format/gguf_types.h"
#include "format/json_file.h"
#include "format/part_names.h"

namespace flashmoe::format {

namespace fs = std::filesystem;

namespace {

using nlohmann::json;

constexpr const char* kExtension = ".gguf";

std::optional<PartName> part_name_of(const std::string& path) {
  return parse_part_name(fs::path(path).filename().string(), kExtension);
}

// A whole number of the metadata, `fallback` when the key is absent.
int64_t number(const json& metadata, const char* key, int64_t fallback, const std::string& path) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return fallback;
  if (!found->is_number_unsigned()) {
    throw_error(ErrorCode::kCorrupt, "{}: {} is {}, not a whole number", path, key, brief(*found));
  }
  return found->get<int64_t>();
}

bool is_of_checkpoint(std::string_view key) { return !key.starts_with("tokenizer."); }

class GgufCheckpoint : public Checkpoint {
 public:
  explicit GgufCheckpoint(const std::string& path) {
    const std::optional<PartName> part = part_name_of(path);
    if (part) {
      const fs::path folder = fs::path(path).parent_path();
      check_parts_present(folder.string(), part->all());
      for (const std::string& name : part->all()) files_.push_back((folder / name).string());
    } else {
      files_ = {path};
    }
    for (size_t i = 0; i < files_.size(); ++i) read_part(static_cast<int>(i));
    check_total();
    sort_tensors();
  }

  const std::string& path() const override { return files_.front(); }
  const std::vector<std::string>& files() const override { return files_; }
  const json& config() const override { return metadata_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }

  const TensorInfo* find(std::string_view name) const override {
    const auto found = std::lower_bound(
        tensors_.begin(), tensors_.end(), name,
        [](const TensorInfo& tensor, std::string_view key) { return tensor.name < key; });
    return found != tensors_.end() && found->name == name ? &*found : nullptr;
  }

 private:
  void read_part(int part) {
    const std::string& path = files_[static_cast<size_t>(part)];
    GgufHeader header = read_gguf_header(path, part, is_of_checkpoint);
    const auto count = static_cast<int64_t>(files_.size());
    const int64_t said = number(header.metadata, "split.count", 1, path);
    if (said > 1 && count == 1) {
      throw_error(ErrorCode::kUnsupported,
                  "{}: is part {} of a model in {} files, which must be named as "
                  "NAME-00001-of-{:05}.gguf",
                  path, number(header.metadata, "split.no", 0, path) + 1, said, said);
    }
    if (count > 1 && (said != count || number(header.metadata, "split.no", -1, path) != part)) {
      throw_error(
          ErrorCode::kCorrupt,
          "{}: split.no and split.count do not say that it is part {} of {}; fetch it again", path,
          part + 1, count);
    }
    if (part == 0) metadata_ = std::move(header.metadata);
    std::move(header.tensors.begin(), header.tensors.end(), std::back_inserter(tensors_));
  }

  void check_total() const {
    const auto have = static_cast<int64_t>(tensors_.size());
    const int64_t total = number(metadata_, "split.tensors.count", have, path());
    if (total != have) {
      throw_error(ErrorCode::kCorrupt,
                  "{}: split.tensors.count is {}, but the files have {} tensors; fetch them again",
                  path(), total, have);
    }
  }

  void sort_tensors() {
    std::sort(tensors_.begin(), tensors_.end(),
              [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
    const auto twice =
        std::adjacent_find(tensors_.begin(), tensors_.end(),
                           [](const auto& a, const auto& b) { return a.name == b.name; });
    if (twice == tensors_.end()) return;
    throw_error(ErrorCode::kCorrupt, "{}: tensor {}: is also in {}", file_of(twice[1]), twice->name,
                file_of(*twice));
  }

  const std::string& file_of(const TensorInfo& tensor) const {
    return files_[static_cast<size_t>(tensor.extent.file)];
  }

  std::optional<MatrixInfo> resolve_matrix(std::string_view prefix,
                                           std::optional<int64_t> expected_cols) const override {
    return resolve_gguf_matrix(*this, prefix, expected_cols);
  }

  std::vector<std::string> files_;
  json metadata_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace

std::optional<MatrixInfo> resolve_gguf_matrix(const Checkpoint& checkpoint, std::string_view prefix,
                                              std::optional<int64_t> expected_cols) {
  const TensorInfo* tensor = checkpoint.find(std::string(prefix) + ".weight");
  if (tensor == nullptr) tensor = checkpoint.find(prefix);
  if (tensor == nullptr) return std::nullopt;
  const std::string& file = checkpoint.files()[static_cast<size_t>(tensor->extent.file)];
  const std::vector<int64_t>& shape = tensor->shape;
  MatrixInfo matrix;
  matrix.name = prefix;
  for (size_t i = 0; i + 2 < shape.size(); ++i) matrix.count *= shape[i];
  // A single row may be written as a vector.
  matrix.rows = shape.size() > 1 ? shape[shape.size() - 2] : 1;
  matrix.cols = shape.back();
  matrix.add_part(&MatrixInfo::codes, *tensor);
  matrix.stride = tensor->slice_stride;
  const auto format = gguf_format(tensor->dtype_name);
  if (!format) {
    throw_error(ErrorCode::kUnsupported,
                "{}: tensor {}: its type {} is not supported where a matrix is needed", file,
                tensor->name, tensor->dtype_name);
  }
  matrix.format = *format;
  if (expected_cols && matrix.cols != *expected_cols) {
    throw_error(ErrorCode::kCorrupt,
                "{}: tensor {}: {} [{}] has {} inputs, but the metadata call for {}", file,
                tensor->name, tensor->dtype_name, fmt::join(shape, ", "), matrix.cols,
                *expected_cols);
  }
  return matrix;
}

json read_gguf_metadata(const std::string& path) {
  return read_gguf_header(path, 0, is_of_checkpoint).metadata;
}

bool is_gguf(const std::string& path) {
  std::error_code ignored;
  return fs::path(path).extension() == kExtension && !fs::is_directory(path, ignored);
}

std::string first_gguf_part(const std::string& path) {
  const std::optional<PartName> part = part_name_of(path);
  return part ? (fs::path(path).parent_path() / part->name(1)).string() : path;
}

std::unique_ptr<Checkpoint> open_gguf(const std::string& path) {
  return std::make_unique<GgufCheckpoint>(path);
}

}  // namespace flashmoe::format

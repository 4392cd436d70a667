#include "format/safetensors_writer.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace flashmoe::format {

namespace {

// Headers are padded so that the data starts at a multiple of this, as the safetensors library
// does.
constexpr size_t kDataAlignment = 8;

uint64_t tensor_bytes(const SafetensorsWriter::Tensor& tensor) {
  CHECK(tensor.dtype != quant::DType::kOther);
  uint64_t bytes = quant::dtype_bytes(tensor.dtype);
  for (int64_t size : tensor.shape) {
    CHECK(size >= 0);
    CHECK(!__builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes));
  }
  return bytes;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::string& folder, std::vector<Tensor> tensors,
                                     Options options)
    : folder_(folder), tensors_(std::move(tensors)), options_(std::move(options)) {
  std::set<std::string> names;
  for (const Tensor& tensor : tensors_) CHECK(names.insert(tensor.name).second);
  cut(options_.max_shard_bytes);
  start_shard();
}

SafetensorsWriter::SafetensorsWriter(const std::string& folder, std::vector<Tensor> tensors)
    : SafetensorsWriter(folder, std::move(tensors), Options()) {}

void SafetensorsWriter::cut(uint64_t max_shard_bytes) {
  shards_.emplace_back();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const uint64_t bytes = tensor_bytes(tensors_[i]);
    if (i > shards_.back().begin && shards_.back().bytes + bytes > max_shard_bytes) {
      shards_.push_back({"", i, i, 0});
    }
    shards_.back().end = i + 1;
    shards_.back().bytes += bytes;
  }
  for (size_t i = 0; i < shards_.size(); ++i) {
    shards_[i].name = shards_.size() == 1
                          ? "model.safetensors"
                          : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards_.size());
  }
}

std::string safetensors_header(std::span<const SafetensorsWriter::Tensor> tensors,
                               const std::string& format) {
  nlohmann::ordered_json json;
  json["__metadata__"]["format"] = format;
  uint64_t offset = 0;
  for (const SafetensorsWriter::Tensor& tensor : tensors) {
    const uint64_t end = offset + tensor_bytes(tensor);
    json[tensor.name] = {{"dtype", quant::dtype_name(tensor.dtype)},
                         {"shape", tensor.shape},
                         {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = json.dump();
  text.resize((text.size() + kDataAlignment - 1) / kDataAlignment * kDataAlignment, ' ');
  std::string prefix(8, '\0');
  for (size_t i = 0; i < prefix.size(); ++i) {
    prefix[i] = static_cast<char>(static_cast<uint64_t>(text.size()) >> (8 * i));
  }
  return prefix + text;
}

// Opens the next shard; those without data are complete with their header.
void SafetensorsWriter::start_shard() {
  const Shard& shard = shards_[files_.size()];
  const auto path = std::filesystem::path(folder_) / shard.name;
  files_.push_back(std::make_unique<AtomicFile>(path.string()));
  files_.back()->write(safetensors_header(
      std::span(tensors_).subspan(shard.begin, shard.end - shard.begin), options_.format));
  left_bytes_ = shard.bytes;
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (left_bytes_ == 0) {
      CHECK(files_.size() < shards_.size());
      start_shard();
      continue;
    }
    const size_t count = static_cast<size_t>(std::min<uint64_t>(left_bytes_, bytes.size()));
    files_.back()->write(bytes.first(count));
    left_bytes_ -= count;
    bytes = bytes.subspan(count);
  }
}

std::string SafetensorsWriter::index() const {
  nlohmann::ordered_json json;
  uint64_t total_bytes = 0;
  for (const Shard& shard : shards_) total_bytes += shard.bytes;
  json["metadata"]["total_size"] = total_bytes;
  nlohmann::json map = nlohmann::json::object();  // sorted by name
  for (const Shard& shard : shards_) {
    for (size_t i = shard.begin; i < shard.end; ++i) map[tensors_[i].name] = shard.name;
  }
  json["weight_map"] = std::move(map);
  return json.dump(2) + "\n";
}

void SafetensorsWriter::finish() {
  while (left_bytes_ == 0 && files_.size() < shards_.size()) start_shard();
  CHECK(left_bytes_ == 0);
  for (const auto& file : files_) file->commit();
  AtomicFile index_file((std::filesystem::path(folder_) / "model.safetensors.index.json").string());
  index_file.write(index());
  index_file.commit();
}

}  // namespace flashmoe::format

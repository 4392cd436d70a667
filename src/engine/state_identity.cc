#include "engine/state_identity.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/error.h"

namespace flashmoe::engine {

namespace {

namespace fs = std::filesystem;

constexpr uint32_t kVersion = 1;  // of what the program computes; another one has other states
constexpr uint64_t kSamples = 256;
constexpr uint64_t kSampleBytes = 4096;

}  // namespace

Digest state_identity(const Engine::Parts& parts) {
  DigestStream digest;
  digest.add(kVersion);
  digest.add(parts.arithmetic);
  digest.add(static_cast<int>(parts.state_shape.attention.kv_type));
  digest.add(parts.config.moe.experts_per_token);
  using Json = nlohmann::json;
  digest.add(parts.checkpoint->config().dump(-1, ' ', false, Json::error_handler_t::replace));
  for (const format::TensorInfo& tensor : parts.checkpoint->tensors()) {
    digest.add(tensor.name);
    digest.add(tensor.dtype_name);
    for (int64_t n : tensor.shape) digest.add(n);
    digest.add(tensor.extent.file);
    digest.add(tensor.extent.offset);
    digest.add(tensor.extent.bytes);
  }
  uint64_t total_bytes = 0;
  for (const io::File& file : parts.expert_files) {
    total_bytes += file.size();
    digest.add(file.size());
    std::error_code error;
    const fs::file_time_type time = fs::last_write_time(file.path(), error);
    if (error) throw_error(ErrorCode::kIo, "{}: {}", file.path(), error.message());
    digest.add(static_cast<int64_t>(time.time_since_epoch().count()));
  }
  // Pieces from all over the files, for those that differ in nothing but weights.
  std::vector<std::byte> sample;
  const uint64_t distance = std::max(kSampleBytes, total_bytes / kSamples);
  for (const io::File& file : parts.expert_files) {
    for (uint64_t at = 0; at < file.size(); at += distance) {
      sample.resize(std::min(file.size() - at, kSampleBytes));
      file.read_exact(at, sample.size(), sample.data());
      digest.add(std::span<const std::byte>(sample));
    }
  }
  return digest.digest();
}

}  // namespace flashmoe::engine

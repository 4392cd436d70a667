#include "engine/state_identity.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/error.h"

namespace flashmoe::engine {

namespace {

namespace fs = std::filesystem;

constexpr uint32_t kVersion = 1;  // of what the program computes; another one has other states
constexpr size_t kSamples = 256;
constexpr uint64_t kSampleBytes = 4096;

}  // namespace

Digest state_identity(const Engine::Parts& parts) {
  DigestStream digest;
  digest.add(kVersion);
  digest.add(parts.arithmetic);
  digest.add(static_cast<int>(parts.state_shape.attention.kv_type));
  digest.add(parts.config.moe.experts_per_token);
  digest.add(parts.checkpoint->config().dump());
  const std::vector<format::TensorInfo>& tensors = parts.checkpoint->tensors();
  for (const format::TensorInfo& tensor : tensors) {
    digest.add(tensor.name);
    digest.add(tensor.dtype_name);
    for (int64_t n : tensor.shape) digest.add(n);
    digest.add(tensor.extent.file);
    digest.add(tensor.extent.offset);
    digest.add(tensor.extent.bytes);
  }
  for (const io::File& file : parts.expert_files) {
    digest.add(file.size());
    std::error_code error;
    const fs::file_time_type time = fs::last_write_time(file.path(), error);
    if (error) throw_error(ErrorCode::kIo, "{}: {}", file.path(), error.message());
    digest.add(static_cast<int64_t>(time.time_since_epoch().count()));
  }
  // The beginnings of tensors all over the model, for files that differ in nothing but weights.
  std::vector<std::byte> sample;
  const size_t samples = std::min(kSamples, tensors.size());
  for (size_t i = 0; i < samples; ++i) {
    const format::Extent& extent = tensors[i * tensors.size() / samples].extent;
    sample.resize(std::min(extent.bytes, kSampleBytes));
    if (sample.empty()) continue;
    parts.expert_files[static_cast<size_t>(extent.file)].read_exact(extent.offset, sample.size(),
                                                                    sample.data());
    digest.add(std::span<const std::byte>(sample));
  }
  return digest.digest();
}

}  // namespace flashmoe::engine

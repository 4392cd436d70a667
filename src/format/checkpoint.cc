#include "format/checkpoint.h"

#include "format/flash_moe_folder.h"
#include "format/gguf_checkpoint.h"
#include "format/safetensors_folder.h"
#include "format/store.h"

namespace flashmoe::format {

std::vector<Extent> contiguous_extents(const TensorInfo& tensor) {
  if (tensor.slice_stride == 0) return {tensor.extent};
  const auto count = static_cast<uint64_t>(tensor.shape.front());
  std::vector<Extent> slices;
  slices.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    slices.push_back({tensor.extent.file, tensor.extent.offset + i * tensor.slice_stride,
                      tensor.extent.bytes / count});
  }
  return slices;
}

std::unique_ptr<Checkpoint> Checkpoint::open(const std::string& path) {
  if (is_gguf(path)) return open_gguf(path);
  if (is_store(path)) return open_store(path);
  return is_flash_moe(path) ? open_flash_moe(path) : open_safetensors_folder(path);
}

}  // namespace flashmoe::format

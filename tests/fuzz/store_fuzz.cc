// The manifest of a packed store is other people's data: it is refused with an Error or describes
// tensors that lie within their files.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "format/store_manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flashmoe;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const format::StoreManifest manifest = format::parse_store_manifest(text, "store.json");
    for (const format::TensorInfo& tensor : format::store_tensors(manifest, "store.json")) {
      const auto& file = manifest.weights[static_cast<size_t>(tensor.extent.file)];
      for (const format::Extent& extent : format::contiguous_extents(tensor)) {
        if (extent.offset + extent.bytes > file.records.content_bytes) std::abort();
      }
    }
    // What was read is written the same way again.
    const std::string again = format::store_manifest_text(manifest);
    if (format::store_manifest_text(format::parse_store_manifest(again, "again")) != again) {
      std::abort();
    }
  } catch (const Error&) {
  }
  return 0;
}

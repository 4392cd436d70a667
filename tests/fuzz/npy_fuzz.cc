// Any bytes as a .npy file: an array or an Error, and an array has as many numbers as its shape.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "base/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const flashmoe::NpyArray array =
        flashmoe::parse_npy({reinterpret_cast<const char*>(data), size}, "fuzz");
    size_t want = 1;
    for (const int64_t n : array.shape) want *= static_cast<size_t>(n);
    const size_t have = std::visit([](const auto& values) { return values.size(); }, array.values);
    if (have != want) std::abort();
  } catch (const flashmoe::Error&) {
  }
  return 0;
}

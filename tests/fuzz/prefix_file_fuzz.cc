// Any bytes as a file of the prefix cache: a header that fits the file and is written back as it
// was, or none. The checksum is put right first, or nothing else would be reached.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "engine/prefix_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flashmoe::engine;
  if (size < kPrefixHeaderBytes) return 0;
  std::array<std::byte, kPrefixHeaderBytes> bytes{};
  std::memcpy(bytes.data(), data, bytes.size());
  const uint64_t checksum = digest_of(std::span(bytes).first(kPrefixHeaderBytes - 8)).low;
  if (size % 2 == 0) std::memcpy(bytes.data() + kPrefixHeaderBytes - 8, &checksum, 8);
  const std::optional<PrefixFileHeader> header = decode_prefix_header(bytes, size);
  if (!header) return 0;
  if (header->payload_offset() + header->payload_bytes != size) std::abort();
  std::array<std::byte, kPrefixHeaderBytes> again{};
  encode_prefix_header(*header, again);
  if (decode_prefix_header(again, size) != header) std::abort();
  return 0;
}

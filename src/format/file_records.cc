#include "format/file_records.h"

#include <lz4.h>

#include "base/checksum.h"
#include "base/error.h"

namespace flashmoe::format {

void check_record(const FileRecords& records, uint64_t record, std::span<const std::byte> content,
                  const std::string& path) {
  if (checksum(content) == records.xxh3[record]) return;
  throw_error(ErrorCode::kCorrupt,
              "{}: record {} at offset {} is damaged: its {} bytes do not have the checksum that "
              "they were written with; `flashmoe pack --verify` lists all such records",
              path, record, record * records.record_bytes, content.size());
}

void unpack_record(const FileRecords& records, uint64_t record, std::span<const std::byte> stored,
                   std::span<std::byte> content, const std::string& path) {
  const int bytes = LZ4_decompress_safe(
      reinterpret_cast<const char*>(stored.data()), reinterpret_cast<char*>(content.data()),
      static_cast<int>(stored.size()), static_cast<int>(content.size()));
  if (bytes == static_cast<int>(content.size())) return;
  throw_error(ErrorCode::kCorrupt,
              "{}: record {} at offset {} is damaged: its {} bytes are no LZ4 block of {}", path,
              record, records.lz4[record].offset, stored.size(), content.size());
}

}  // namespace flashmoe::format

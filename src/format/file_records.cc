#include "format/file_records.h"

#include <lz4.h>

#include <algorithm>
#include <cstring>

#include "base/checksum.h"
#include "base/error.h"

namespace flashmoe::format {

namespace {

constexpr char kCompressed[] = "bv41", kStored[] = "bv4-", kEnd[] = "bv4$";
constexpr size_t kMarkBytes = 4;

bool starts_with(std::span<const std::byte> bytes, const char* mark) {
  return bytes.size() >= kMarkBytes && std::memcmp(bytes.data(), mark, kMarkBytes) == 0;
}

// Little-endian, at `offset`, which is within `bytes`.
size_t size_at(std::span<const std::byte> bytes, size_t offset) {
  size_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | std::to_integer<size_t>(bytes[offset + i]);
  return value;
}

// One LZ4 block that fills content from `done` on and may refer to what is before.
bool unpack_block(std::span<const std::byte> block, std::span<std::byte> content, size_t done) {
  const std::span<std::byte> rest = content.subspan(done);
  const int bytes = LZ4_decompress_safe_usingDict(
      reinterpret_cast<const char*>(block.data()), reinterpret_cast<char*>(rest.data()),
      static_cast<int>(block.size()), static_cast<int>(rest.size()),
      reinterpret_cast<const char*>(content.data()), static_cast<int>(done));
  return bytes == static_cast<int>(rest.size());
}

bool is_framed(std::span<const std::byte> stored) {
  return starts_with(stored, kCompressed) || starts_with(stored, kStored);
}

// Apple's frame: blocks, each with a mark and its sizes, then a mark for the end.
bool unpack_frame(std::span<const std::byte> stored, std::span<std::byte> content) {
  size_t done = 0;
  while (!starts_with(stored, kEnd)) {
    const bool compressed = starts_with(stored, kCompressed);
    const size_t header = kMarkBytes + (compressed ? 8 : 4);
    if ((!compressed && !starts_with(stored, kStored)) || stored.size() < header) return false;
    const size_t raw_bytes = size_at(stored, kMarkBytes);
    const size_t bytes = compressed ? size_at(stored, kMarkBytes + 4) : raw_bytes;
    stored = stored.subspan(header);
    if (bytes > stored.size() || raw_bytes > content.size() - done) return false;
    const std::span<const std::byte> block = stored.first(bytes);
    if (!compressed) {
      std::copy(block.begin(), block.end(), content.begin() + static_cast<std::ptrdiff_t>(done));
    } else if (!unpack_block(block, content.first(done + raw_bytes), done)) {
      return false;
    }
    stored = stored.subspan(bytes);
    done += raw_bytes;
  }
  return done == content.size();
}

}  // namespace

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
  if (stored.size() == content.size()) {  // it would not have become smaller
    std::copy(stored.begin(), stored.end(), content.begin());
    return;
  }
  if (is_framed(stored) ? unpack_frame(stored, content) : unpack_block(stored, content, 0)) return;
  throw_error(ErrorCode::kCorrupt,
              "{}: record {} at offset {} is damaged: its {} bytes are no LZ4 data of {}", path,
              record, records.lz4[record].offset, stored.size(), content.size());
}

}  // namespace flashmoe::format

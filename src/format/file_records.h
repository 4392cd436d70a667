// A file of weights as a row of records of equal size, for formats that have them: their checksums,
// and where they lie when each is stored compressed. Owns the lists and what is done with a
// record's bytes; reads nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace flashmoe::format {

// Extents count a file's content, which is that of its records one after the other.
struct FileRecords {
  struct Place {
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };
  uint64_t record_bytes = 0;   // of the content; the last record may be shorter
  uint64_t content_bytes = 0;  // of all records
  std::vector<uint64_t> xxh3;  // one a record, of its content; empty: no checksums
  // One a record, where it is compressed: an LZ4 block, or blocks in the frame of Apple's library,
  // or, where the sizes are equal, the content. Empty: not compressed.
  std::vector<Place> lz4;

  uint64_t count() const { return (content_bytes + record_bytes - 1) / record_bytes; }
  uint64_t bytes_of(uint64_t record) const {
    const uint64_t begin = record * record_bytes;
    return content_bytes - begin < record_bytes ? content_bytes - begin : record_bytes;
  }
};

// Throws Error kCorrupt with `path`, record and offset unless the content has its checksum.
void check_record(const FileRecords& records, uint64_t record, std::span<const std::byte> content,
                  const std::string& path);
// From what is stored to the record's content, which takes bytes_of(record). Throws Error kCorrupt.
void unpack_record(const FileRecords& records, uint64_t record, std::span<const std::byte> stored,
                   std::span<std::byte> content, const std::string& path);

}  // namespace flashmoe::format

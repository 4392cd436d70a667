// A file of weights as a row of records of equal size, for formats that have them: their checksums,
// and where they lie when each is stored compressed. Owns the lists; reads nothing.
#pragma once

#include <cstdint>
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
  std::vector<Place> lz4;      // one a record, where it is as an LZ4 block; empty: not compressed

  uint64_t count() const { return (content_bytes + record_bytes - 1) / record_bytes; }
  uint64_t bytes_of(uint64_t record) const {
    const uint64_t begin = record * record_bytes;
    return content_bytes - begin < record_bytes ? content_bytes - begin : record_bytes;
  }
};

}  // namespace flashmoe::format

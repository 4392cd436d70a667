// Reads the content of a checkpoint's files: plain bytes, or records that are unpacked and, on
// request, checked on the way. Owns the open files. Any thread may read at any time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "format/checkpoint.h"
#include "io/file.h"

namespace flashmoe::format {

enum class Checksums { kIgnore, kVerify };

class ContentReader {
 public:
  // Opens all files for reads through the page cache. `checkpoint` must outlive this. kVerify is
  // for checkpoints whose files have checksums; others are read as they are.
  ContentReader(const Checkpoint& checkpoint, Checksums checksums);

  // Throws Error kIo, and kCorrupt for a damaged record.
  void read(int file, uint64_t offset, size_t bytes, std::byte* destination) const;
  void read(const Extent& extent, std::byte* destination) const {
    read(extent.file, extent.offset, static_cast<size_t>(extent.bytes), destination);
  }
  // The extent will soon be read: the system may begin to. Nothing where files have records.
  void expect(const Extent& extent) const;

 private:
  void read_record(int file, uint64_t record, std::byte* destination) const;

  const Checkpoint& checkpoint_;
  const bool verify_;
  std::vector<io::File> files_;
};

}  // namespace flashmoe::format

#include "format/content_reader.h"

#include <algorithm>
#include <cstring>

namespace flashmoe::format {

ContentReader::ContentReader(const Checkpoint& checkpoint, Checksums checksums)
    : checkpoint_(checkpoint), verify_(checksums == Checksums::kVerify) {
  for (const std::string& path : checkpoint.files()) files_.emplace_back(path);
}

void ContentReader::read(int file, uint64_t offset, size_t bytes, std::byte* destination) const {
  const FileRecords* records = checkpoint_.records(file);
  const bool by_records =
      records != nullptr && (!records->lz4.empty() || (verify_ && !records->xxh3.empty()));
  if (!by_records) {
    files_[static_cast<size_t>(file)].read_exact(offset, bytes, destination);
    return;
  }
  std::vector<std::byte> whole;  // a record of which only a part is wanted
  while (bytes > 0) {
    const uint64_t record = offset / records->record_bytes;
    const uint64_t skip = offset % records->record_bytes;
    const uint64_t record_bytes = records->bytes_of(record);
    const auto n = static_cast<size_t>(std::min<uint64_t>(bytes, record_bytes - skip));
    if (n == record_bytes) {
      read_record(file, record, destination);
    } else {
      whole.resize(record_bytes);
      read_record(file, record, whole.data());
      std::memcpy(destination, whole.data() + skip, n);
    }
    offset += n;
    destination += n;
    bytes -= n;
  }
}

void ContentReader::expect(const Extent& extent) const {
  if (checkpoint_.records(extent.file) != nullptr) return;
  files_[static_cast<size_t>(extent.file)].expect(extent.offset, extent.bytes);
}

void ContentReader::read_record(int file, uint64_t record, std::byte* destination) const {
  const FileRecords& records = *checkpoint_.records(file);
  const io::File& input = files_[static_cast<size_t>(file)];
  const std::span<std::byte> content(destination, records.bytes_of(record));
  if (records.lz4.empty()) {
    input.read_exact(record * records.record_bytes, content.size(), destination);
  } else {
    const FileRecords::Place& place = records.lz4[record];
    std::vector<std::byte> stored(place.bytes);
    input.read_exact(place.offset, stored.size(), stored.data());
    unpack_record(records, record, stored, content, input.path());
  }
  if (verify_ && !records.xxh3.empty()) check_record(records, record, content, input.path());
}

}  // namespace flashmoe::format

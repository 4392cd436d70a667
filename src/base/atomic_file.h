// A file that appears whole or not at all: written under a temporary name in the same folder, then
// renamed. Owns the temporary file and removes it when abandoned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace flashmoe {

class AtomicFile {
 public:
  // Creates the temporary file. Throws Error kIo, also when `path` is there and no regular file (a
  // rename over /dev/null would replace it).
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t written_bytes() const { return written_bytes_; }

  // Appends; unbuffered. Throws Error kIo, for example when the disk is full.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  // Brings all to the disk and gives the file its name, replacing one that is there. Once only.
  void commit();

 private:
  // Has the disk begin with what was written since the last call, and waits for what it began then:
  // at most two pieces are under way.
  void write_back();
  [[noreturn]] void fail(const std::string& what, int error) const;

  std::string path_;
  std::string temporary_path_;
  int fd_ = -1;
  uint64_t written_bytes_ = 0;
  uint64_t begun_bytes_ = 0;  // of these, those that the disk was asked to write
  uint64_t done_bytes_ = 0;   // of these, those that were waited for
};

}  // namespace flashmoe

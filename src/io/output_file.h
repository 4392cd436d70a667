// A file being written in large pieces at any place, from many threads, past the page cache where
// the system can. Owns the descriptor; what is in the file when, and under which name, is the
// caller's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace flashmoe::io {

class OutputFile {
 public:
  // Creates the file, or empties it. Throws Error kIo.
  explicit OutputFile(std::string path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Any thread, for ranges that do not overlap. Fastest where offset, size and memory are multiples
  // of 4096; others work. Throws Error kIo, for example when the disk is full.
  void write(uint64_t offset, std::span<const std::byte> bytes) const;
  // Waits until all is on the disk. Throws Error kIo.
  void sync() const;

 private:
  std::string path_;
  int fd_ = -1;
};

}  // namespace flashmoe::io

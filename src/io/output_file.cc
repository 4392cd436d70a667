#include "io/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "io/open_direct.h"

namespace flashmoe::io {

namespace {

constexpr size_t kMaxWriteBytes = size_t{1} << 30;  // systems stop somewhat below 2 GiB

}  // namespace

OutputFile::OutputFile(std::string path) : path_(std::move(path)), fd_(create_direct(path_)) {
  if (fd_ < 0) throw_error(ErrorCode::kIo, "{}: cannot create: {}", path_, std::strerror(errno));
}

OutputFile::~OutputFile() { close(fd_); }

void OutputFile::write(uint64_t offset, std::span<const std::byte> bytes) const {
  bool direct = true;
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd_, bytes.data(), std::min(bytes.size(), kMaxWriteBytes),
                             static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    // What is not aligned, or a file system that only pretends to write directly.
    if (n < 0 && errno == EINVAL && std::exchange(direct, false)) {
      leave_direct(fd_);
      continue;
    }
    if (n < 0) {
      throw_error(ErrorCode::kIo, "{}: cannot write at {}: {}", path_, offset,
                  std::strerror(errno));
    }
    offset += static_cast<uint64_t>(n);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void OutputFile::sync() const {
  if (fsync(fd_) != 0) {
    throw_error(ErrorCode::kIo, "{}: cannot write: {}", path_, std::strerror(errno));
  }
}

}  // namespace flashmoe::io

#include "io/file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "io/open_direct.h"

namespace flashmoe::io {
namespace {

constexpr size_t kBounceBytes = size_t{1} << 20;
constexpr size_t kMaxReadBytes = size_t{1} << 30;  // systems stop somewhat below 2 GiB

[[noreturn]] void cannot_open(const std::string& path, int error) {
  throw_error(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot be opened: {}",
              path, std::strerror(error));
}

ssize_t read_at(int fd, uint64_t offset, size_t bytes, std::byte* destination) {
  ssize_t n;
  do {
    n = pread(fd, destination, std::min(bytes, kMaxReadBytes), static_cast<off_t>(offset));
  } while (n < 0 && errno == EINTR);
  return n;
}

bool is_aligned(uint64_t offset, size_t bytes, const std::byte* destination, size_t alignment) {
  return ((offset | bytes | reinterpret_cast<uintptr_t>(destination)) & (alignment - 1)) == 0;
}

}  // namespace

File::File(std::string path, Access access) : path_(std::move(path)) {
  struct stat info = {};
  if (stat(path_.c_str(), &info) != 0) cannot_open(path_, errno);
  if (!S_ISREG(info.st_mode)) {
    throw_error(ErrorCode::kIo, "{}: is not a regular file", path_);
  }
  if (access == Access::kDirect) {
    fd_ = open_direct(path_);
    if (fd_ < 0 && errno != EINVAL) cannot_open(path_, errno);
    alignment_ = fd_ < 0 ? 0 : direct_alignment(fd_);
    // Some file systems take O_DIRECT and then refuse to read.
    if (alignment_ > 1) {
      AlignedBuffer block(alignment_);
      if (read_at(fd_, 0, alignment_, block.data()) < 0 && errno == EINVAL) alignment_ = 0;
    }
    if (alignment_ <= 1 && fd_ >= 0) close(std::exchange(fd_, -1));
  }
  if (fd_ < 0) {
    alignment_ = 1;
    fd_ = open_for_reading(path_, 0);
    if (fd_ < 0) cannot_open(path_, errno);
  }
  if (fstat(fd_, &info) != 0) {
    const int error = errno;
    close(fd_);
    cannot_open(path_, error);
  }
  size_bytes_ = static_cast<uint64_t>(info.st_size);
}

File::~File() {
  if (fd_ >= 0) close(fd_);
}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_bytes_(other.size_bytes_),
      alignment_(other.alignment_) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_bytes_, other.size_bytes_);
  std::swap(alignment_, other.alignment_);
  return *this;
}

void File::expect(uint64_t offset, uint64_t bytes) const {
  if (bytes > 0) expect_reads(fd_, offset, bytes);
}

void File::read_exact(uint64_t offset, size_t bytes, std::byte* destination) const {
  if (is_aligned(offset, bytes, destination, alignment_)) {
    read_range(offset, bytes, bytes, destination);
    return;
  }
  AlignedBuffer bounce(kBounceBytes);
  while (bytes > 0) {
    const uint64_t begin = offset / alignment_ * alignment_;
    const size_t skip = static_cast<size_t>(offset - begin);
    const size_t n = std::min(bytes, kBounceBytes - skip);
    const size_t ask = (skip + n + alignment_ - 1) / alignment_ * alignment_;
    read_range(begin, ask, skip + n, bounce.data());
    std::memcpy(destination, bounce.data() + skip, n);
    offset += n;
    destination += n;
    bytes -= n;
  }
}

// One aligned range, of which the first `needed_bytes` must be there.
void File::read_range(uint64_t offset, size_t bytes, size_t needed_bytes,
                      std::byte* destination) const {
  size_t done = 0;
  while (done < needed_bytes) {
    // A direct read that stopped at an odd place goes on from the block before it.
    const size_t from = done / alignment_ * alignment_;
    const ssize_t n = read_at(fd_, offset + from, bytes - from, destination + from);
    if (n < 0) {
      throw_error(ErrorCode::kIo, "{}: cannot read {} bytes at offset {}: {}", path_, bytes - from,
                  offset + from, std::strerror(errno));
    }
    if (from + static_cast<size_t>(n) <= done) {
      throw_error(ErrorCode::kIo, "{}: the file ends at {}, {} bytes short", path_, offset + done,
                  needed_bytes - done);
    }
    done = from + static_cast<size_t>(n);
  }
}

}  // namespace flashmoe::io

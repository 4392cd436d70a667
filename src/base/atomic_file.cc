#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/check.h"
#include "base/error.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

// The disk begins to write each piece of this size at once, while the next one is made; left to the
// kernel it would begin late and then have much to do at once.
constexpr uint64_t kWriteBackBytes = uint64_t{16} << 20;

// Where a write to `path` ends up: through symbolic links, so that these stay links.
std::string resolve(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) return path;
  if (!fs::is_regular_file(status)) {
    throw_error(ErrorCode::kIo, "{}: is there already and is not a regular file; name another one",
                path);
  }
  const fs::path target = fs::canonical(path, error);
  return error ? path : target.string();
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path) : path_(resolve(path)) {
  const fs::path target(path_);
  for (int attempt = 0; fd_ < 0; ++attempt) {
    temporary_path_ =
        (target.parent_path() /
         fmt::format(".{}.{}-{}.partial", target.filename().string(), getpid(), attempt))
            .string();
    // O_EXCL: two writers never share a temporary file, nor is one left by a crash taken over.
    fd_ = open(temporary_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && (errno != EEXIST || attempt >= 1000)) fail("cannot create", errno);
  }
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_path_.c_str());
}

void AtomicFile::fail(const std::string& what, int error) const {
  throw_error(ErrorCode::kIo, "{}: {}: {}", path_, what, std::strerror(error));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  CHECK(fd_ >= 0);
  while (!bytes.empty()) {
    const size_t ask =
        std::min(bytes.size(), size_t{1} << 30);  // the system's limit is below 2 GiB
    const ssize_t n = ::write(fd_, bytes.data(), ask);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(fmt::format("cannot write at {}", written_bytes_), errno);
    written_bytes_ += static_cast<uint64_t>(n);
    bytes = bytes.subspan(static_cast<size_t>(n));
    if (written_bytes_ - begun_bytes_ >= kWriteBackBytes) write_back();
  }
}

void AtomicFile::write_back() {
#ifdef SYNC_FILE_RANGE_WRITE  // Linux
  const auto sync = [&](uint64_t from, uint64_t to, unsigned flags) {
    if (from == to) return;  // to the kernel, 0 bytes are all
    if (sync_file_range(fd_, static_cast<off_t>(from), static_cast<off_t>(to - from), flags) == 0) {
      return;
    }
    // A failed write is told once, so not again by fsync. Other errors: the file system cannot.
    if (errno == EIO || errno == ENOSPC || errno == EDQUOT) fail("cannot write", errno);
  };
  sync(begun_bytes_, written_bytes_, SYNC_FILE_RANGE_WRITE);
  sync(done_bytes_, begun_bytes_,
       SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
#endif
  done_bytes_ = begun_bytes_;
  begun_bytes_ = written_bytes_;
}

void AtomicFile::commit() {
  CHECK(fd_ >= 0);
  if (fsync(fd_) != 0) fail("cannot write", errno);
  if (std::rename(temporary_path_.c_str(), path_.c_str()) != 0) fail("cannot name", errno);
  close(fd_);
  fd_ = -1;
  // The new name is on disk only when the folder is; some file systems cannot sync folders.
  const fs::path folder = fs::path(path_).parent_path();
  const int folder_fd = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (folder_fd >= 0) {
    fsync(folder_fd);
    close(folder_fd);
  }
}

}  // namespace flashmoe

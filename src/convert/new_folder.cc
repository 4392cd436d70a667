#include "convert/new_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <system_error>

#include "base/check.h"
#include "base/error.h"
#include "base/format_units.h"

namespace flashmoe::convert {

namespace fs = std::filesystem;

namespace {

constexpr int kMaxAttempts = 1000;

}  // namespace

fs::path resolve_destination(const std::string& path) {
  std::error_code error;
  const fs::path resolved = fs::weakly_canonical(fs::absolute(path, error), error);
  if (error) throw_error(ErrorCode::kIo, "{}: cannot be resolved: {}", path, error.message());
  return resolved.has_filename() ? resolved : resolved.parent_path();
}

void check_destination(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    const fs::path parent = path.parent_path();
    if (fs::is_directory(parent, error)) return;
    throw_error(ErrorCode::kNotFound, "{}: there is no folder {} to make it in", path.string(),
                parent.string());
  }
  if (!fs::is_directory(status)) {
    throw_error(ErrorCode::kUsage, "{}: is there already and is not a folder", path.string());
  }
  const bool empty = fs::is_empty(path, error);
  if (error) throw_error(ErrorCode::kIo, "{}: cannot be read: {}", path.string(), error.message());
  if (!empty) {
    throw_error(ErrorCode::kUsage, "{}: is there already and is not empty; name another folder",
                path.string());
  }
}

void check_free_space(const fs::path& folder, const fs::path& path, uint64_t needed_bytes) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error) {
    throw_error(ErrorCode::kIo, "{}: cannot tell the free space: {}", path.string(),
                error.message());
  }
  if (space.available >= needed_bytes) return;
  throw_error(ErrorCode::kIo, "{}: needs {} of disk space, but only {} are free", path.string(),
              format_bytes(needed_bytes), format_bytes(space.available));
}

void sync_folder(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

NewFolder::NewFolder(const std::string& path) : path_(resolve_destination(path)) {
  check_destination(path_);
  for (int attempt = 0; temporary_path_.empty(); ++attempt) {
    const fs::path candidate =
        path_.parent_path() /
        fmt::format(".{}.{}-{}.partial", path_.filename().string(), getpid(), attempt);
    std::error_code error;
    if (fs::create_directory(candidate, error)) {
      temporary_path_ = candidate;
    } else if (error || attempt >= kMaxAttempts) {
      throw_error(ErrorCode::kIo, "{}: cannot be made: {}", candidate.string(), error.message());
    }
  }
}

NewFolder::~NewFolder() {
  if (temporary_path_.empty()) return;
  std::error_code ignored;
  fs::remove_all(temporary_path_, ignored);
}

void NewFolder::commit() {
  CHECK(!temporary_path_.empty());
  std::error_code error;
  fs::rename(temporary_path_, path_, error);  // replaces an empty folder
  if (error)
    throw_error(ErrorCode::kIo, "{}: cannot be named: {}", path_.string(), error.message());
  temporary_path_.clear();
  sync_folder(path_.parent_path());
}

}  // namespace flashmoe::convert

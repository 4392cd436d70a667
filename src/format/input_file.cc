#include "format/input_file.h"

#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/error.h"

namespace flashmoe::format {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kLfsPointerStart = "version https://git-lfs.github.com/spec/";
constexpr uint64_t kMaxLfsPointerBytes = 1024;  // by its specification

void check_regular_file(const std::string& path) {
  std::error_code ignored;
  if (fs::is_regular_file(path, ignored)) return;
  if (fs::exists(path, ignored)) throw_error(ErrorCode::kIo, "{}: is not a regular file", path);
  if (fs::is_symlink(path, ignored)) {
    throw_error(ErrorCode::kNotFound,
                "{}: links to {}, which is not there; download the model again", path,
                fs::read_symlink(path, ignored).string());
  }
  throw_error(ErrorCode::kNotFound, "{}: no such file", path);
}

}  // namespace

io::File open_input(const std::string& path) {
  check_regular_file(path);
  io::File file(path);
  if (file.size() == 0) {
    throw_error(ErrorCode::kCorrupt, "{}: is empty; its download did not finish, fetch it again",
                path);
  }
  if (file.size() >= kLfsPointerStart.size() && file.size() <= kMaxLfsPointerBytes &&
      read_text(file, 0, kLfsPointerStart.size()) == kLfsPointerStart) {
    const std::string folder = fs::path(path).parent_path().string();
    throw_error(
        ErrorCode::kCorrupt,
        "{}: is a Git LFS pointer, not the file itself; fetch it with: git -C '{}' lfs pull", path,
        folder.empty() ? "." : folder);
  }
  return file;
}

std::string read_text(const io::File& file, uint64_t offset, uint64_t bytes) {
  std::string text(bytes, '\0');
  file.read_exact(offset, text.size(), reinterpret_cast<std::byte*>(text.data()));
  return text;
}

}  // namespace flashmoe::format

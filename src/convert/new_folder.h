// A folder that appears whole or not at all: filled under a temporary name beside its place, then
// renamed. Owns the temporary folder and removes it with everything in it when abandoned. Also the
// questions that every new folder asks of its place.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace flashmoe::convert {

// Absolute, through symbolic links, without a slash at the end.
std::filesystem::path resolve_destination(const std::string& path);
// Throws Error kUsage when it is there and no empty folder, kNotFound when the folder around it is
// not there.
void check_destination(const std::filesystem::path& path);
// Throws Error kIo, naming `path`, when the file system of `folder` has less room left for this
// process.
void check_free_space(const std::filesystem::path& folder, const std::filesystem::path& path,
                      uint64_t needed_bytes);
// New names in a folder are on disk only when it is; some file systems cannot sync folders.
void sync_folder(const std::filesystem::path& folder);

class NewFolder {
 public:
  // Creates the temporary folder. Throws Error kUsage when `path` is there and no empty folder,
  // kNotFound when the folder around it is not there, kIo when it cannot be written to.
  explicit NewFolder(const std::string& path);
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  // Where to write.
  const std::filesystem::path& temporary_path() const { return temporary_path_; }
  // Throws Error kIo when the file system has less room left for this process.
  void check_space(uint64_t needed_bytes) const {
    check_free_space(temporary_path_, path_, needed_bytes);
  }
  // Gives the folder its name; once. The files in it must be on disk.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_path_;  // empty after commit
};

}  // namespace flashmoe::convert

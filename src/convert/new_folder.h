// A folder that appears whole or not at all: filled under a temporary name beside its place, then
// renamed. Owns the temporary folder and removes it with everything in it when abandoned.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace flashmoe::convert {

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
  void check_space(uint64_t needed_bytes) const;
  // Gives the folder its name; once. The files in it must be on disk.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_path_;  // empty after commit
};

}  // namespace flashmoe::convert

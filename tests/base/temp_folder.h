// A folder for one test's files. Owns it: gone with everything in it at the end. A death test's
// child, which runs the test again and ends without destructors, makes its folders in its parent's.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>

namespace flashmoe {

class TempFolder {
 public:
  TempFolder() {
    std::filesystem::path outer = testing::TempDir();
    const char* owner = getenv(kOwner);
    const bool is_child = owner != nullptr && owner != std::to_string(getpid());
    if (const char* folder = getenv(kFolder); is_child && folder != nullptr) outer = folder;
    std::string name = outer / "flashmoe-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    path_ = name;
    if (is_child) return;
    setenv(kOwner, std::to_string(getpid()).c_str(), 1);
    setenv(kFolder, name.c_str(), 1);
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
    unsetenv(kFolder);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string path() const { return path_.string(); }
  std::string file(std::string_view name) const { return (path_ / name).string(); }

  // Writes a file, making the folders above it, and returns its path.
  std::string write(std::string_view name, std::string_view content) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << content;
    return file(name);
  }
  std::string read(std::string_view name) const {
    std::ifstream in(path_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  static constexpr const char* kOwner = "FLASHMOE_TEST_PROCESS";
  static constexpr const char* kFolder = "FLASHMOE_TEST_FOLDER";  // of the owner's latest

  std::filesystem::path path_;
};

}  // namespace flashmoe

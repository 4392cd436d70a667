#include <filesystem>

#include "base/program_path.h"

namespace flashmoe {

std::string program_path() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).string();
}

}  // namespace flashmoe

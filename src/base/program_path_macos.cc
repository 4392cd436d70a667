#include <mach-o/dyld.h>

#include <filesystem>

#include "base/program_path.h"

namespace flashmoe {

std::string program_path() {
  uint32_t bytes = 0;  // with the zero at its end
  _NSGetExecutablePath(nullptr, &bytes);
  std::string path(bytes, '\0');
  if (_NSGetExecutablePath(path.data(), &bytes) != 0) return {};
  std::error_code error;
  return std::filesystem::canonical(path.c_str(), error).string();
}

}  // namespace flashmoe

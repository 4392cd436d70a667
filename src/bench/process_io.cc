#include "bench/process_io.h"

#include <fstream>
#include <string>

namespace flashmoe::bench {

std::optional<uint64_t> process_disk_bytes() {
  std::ifstream file("/proc/self/io");
  std::string name;
  uint64_t value = 0;
  while (file >> name >> value) {
    if (name == "read_bytes:") return value;
  }
  return std::nullopt;
}

}  // namespace flashmoe::bench

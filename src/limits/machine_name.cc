#include "limits/machine_name.h"

#include <fmt/format.h>

#include <fstream>
#include <string>
#include <thread>

#include "kernels/cpu/isa.h"

namespace flashmoe::limits {

namespace {

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "processor";
}

}  // namespace

std::string machine_name() {
  return fmt::format("{} x{} {}", processor_name(), std::thread::hardware_concurrency(),
                     kernels::cpu::isa_name(kernels::cpu::chosen_isa()));
}

}  // namespace flashmoe::limits

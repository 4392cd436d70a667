// macOS: what the kernel's own calls say.
#include <mach/mach.h>
#include <sys/resource.h>
#include <sys/sysctl.h>

#include "base/error.h"
#include "base/memory_info.h"

namespace flashmoe {

uint64_t available_memory_bytes(const std::string&) {
  vm_statistics64_data_t stats = {};
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  const auto info = reinterpret_cast<host_info64_t>(&stats);
  if (host_statistics64(mach_host_self(), HOST_VM_INFO64, info, &count) != KERN_SUCCESS) {
    throw_error(ErrorCode::kIo, "the system does not say how much memory is free");
  }
  const uint64_t pages = uint64_t{stats.free_count} + stats.inactive_count + stats.purgeable_count;
  return pages * vm_kernel_page_size;
}

uint64_t total_memory_bytes(const std::string&) {
  uint64_t bytes = 0;
  size_t length = sizeof bytes;
  if (sysctlbyname("hw.memsize", &bytes, &length, nullptr, 0) != 0) {
    throw_error(ErrorCode::kIo, "the system does not say how much memory it has");
  }
  return bytes;
}

uint64_t rss_bytes() {
  mach_task_basic_info info = {};
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  const kern_return_t result = task_info(mach_task_self(), MACH_TASK_BASIC_INFO,
                                         reinterpret_cast<task_info_t>(&info), &count);
  return result == KERN_SUCCESS ? info.resident_size : 0;
}

uint64_t peak_rss_bytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss);  // bytes on macOS
}

}  // namespace flashmoe

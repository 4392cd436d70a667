// Linux: what /proc and the memory cgroups say.
#include <algorithm>
#include <charconv>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/memory_info.h"

namespace flashmoe {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

// The number that begins `text`, after blanks.
std::optional<uint64_t> leading_number(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

// A file that holds one number; nullopt if it is not there or says "max".
std::optional<uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return leading_number(line);
}

// The number behind `key` in a file of lines "key 123" or "key:  123 kB".
std::optional<uint64_t> field_in(const std::string& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::string_view rest = line;
    if (!rest.starts_with(key)) continue;
    rest.remove_prefix(key.size());
    if (rest.starts_with(':')) rest.remove_prefix(1);
    if (rest.starts_with(' ') || rest.starts_with('\t')) return leading_number(rest);
  }
  return std::nullopt;
}

uint64_t field_kib_in(const std::string& path, std::string_view key) {
  const std::optional<uint64_t> kib = field_in(path, key);
  if (!kib) throw_error(ErrorCode::kIo, "{}: does not say {}", path, key);
  return *kib * 1024;
}

// One memory cgroup: its limit (kNoLimit if none) and what it uses, less reclaimable page cache.
struct Group {
  uint64_t limit_bytes = kNoLimit;
  uint64_t used_bytes = 0;
};

Group read_group(const std::string& folder, bool v2) {
  Group group;
  const auto lower_limit = [&](const char* name) {
    group.limit_bytes = std::min(group.limit_bytes, number_in(folder + name).value_or(kNoLimit));
  };
  const std::string stat = folder + "/memory.stat";
  uint64_t cache_bytes = 0;
  if (v2) {
    lower_limit("/memory.max");
    lower_limit("/memory.high");  // above it the kernel slows the process down
    group.used_bytes = number_in(folder + "/memory.current").value_or(0);
    for (const char* key : {"inactive_file", "active_file", "slab_reclaimable"}) {
      cache_bytes += field_in(stat, key).value_or(0);
    }
  } else {
    lower_limit("/memory.limit_in_bytes");
    group.used_bytes = number_in(folder + "/memory.usage_in_bytes").value_or(0);
    for (const char* key : {"total_inactive_file", "total_active_file"}) {
      cache_bytes += field_in(stat, key).value_or(0);
    }
  }
  group.used_bytes -= std::min(group.used_bytes, cache_bytes);
  return group;
}

// Calls visit(group) for each memory cgroup of this process and its ancestors. Inside a container
// the path may name folders that only the host has; the container's own is then the root.
void for_each_group(const std::string& root, const std::function<void(const Group&)>& visit) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // hierarchy:controllers:path
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    const bool v2 = controllers == ",,";
    if (!v2 && controllers.find(",memory,") == std::string::npos) continue;
    const std::string mount = root + (v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory");
    std::string path = line.substr(second + 1);
    for (;;) {
      while (path.ends_with('/')) path.pop_back();
      visit(read_group(mount + path, v2));
      if (path.find('/') == std::string::npos) break;
      path.resize(path.rfind('/'));
    }
  }
}

}  // namespace

uint64_t available_memory_bytes(const std::string& root) {
  uint64_t bytes = field_kib_in(root + "/proc/meminfo", "MemAvailable");
  for_each_group(root, [&](const Group& group) {
    if (group.limit_bytes == kNoLimit) return;
    bytes = std::min(bytes, group.limit_bytes - std::min(group.limit_bytes, group.used_bytes));
  });
  return bytes;
}

uint64_t total_memory_bytes(const std::string& root) {
  uint64_t bytes = field_kib_in(root + "/proc/meminfo", "MemTotal");
  for_each_group(root, [&](const Group& group) { bytes = std::min(bytes, group.limit_bytes); });
  return bytes;
}

// Not getrusage: its maximum is inherited from the program that started this one.
uint64_t rss_bytes() { return field_kib_in("/proc/self/status", "VmRSS"); }
uint64_t peak_rss_bytes() { return field_kib_in("/proc/self/status", "VmHWM"); }

}  // namespace flashmoe

#include "base/memory_info.h"

#include <gtest/gtest.h>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace flashmoe {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kMiB = uint64_t{1} << 20;

// A machine of 16 GiB with 8 GiB available.
class MemoryInfoTest : public testing::Test {
 protected:
  MemoryInfoTest() {
    folder_.write("proc/meminfo",
                  "MemTotal:       16777216 kB\nMemFree:         1000000 kB\n"
                  "MemAvailable:    8388608 kB\nBuffers:          100000 kB\n");
  }
  void in_group(std::string_view content) { folder_.write("proc/self/cgroup", content); }
  void group_file(const std::string& path, uint64_t bytes) {
    folder_.write("sys/fs/cgroup/" + path, std::to_string(bytes) + "\n");
  }
  uint64_t available() { return available_memory_bytes(folder_.path()); }
  uint64_t total() { return total_memory_bytes(folder_.path()); }

  TempFolder folder_;
};

TEST_F(MemoryInfoTest, WithoutGroups) {
  EXPECT_EQ(available(), 8 * kGiB);
  EXPECT_EQ(total(), 16 * kGiB);
}

TEST_F(MemoryInfoTest, V2WithoutLimit) {
  in_group("0::/user.slice/session\n");
  folder_.write("sys/fs/cgroup/user.slice/session/memory.max", "max\n");
  group_file("user.slice/session/memory.current", 3 * kGiB);
  EXPECT_EQ(available(), 8 * kGiB);
  EXPECT_EQ(total(), 16 * kGiB);
}

TEST_F(MemoryInfoTest, V2LimitLessUseCountsCacheAsFree) {
  in_group("0::/a/b\n");
  group_file("a/b/memory.max", 4 * kGiB);
  group_file("a/b/memory.current", 3 * kGiB);
  EXPECT_EQ(available(), 1 * kGiB);
  EXPECT_EQ(total(), 4 * kGiB);
  folder_.write("sys/fs/cgroup/a/b/memory.stat",
                "anon 1073741824\nfile 2147483648\ninactive_anon 5\ninactive_file 1073741824\n"
                "active_file 524288000\nslab_reclaimable 1048576\nslab 99\n");
  EXPECT_EQ(available(), 2 * kGiB + 501 * kMiB);
}

TEST_F(MemoryInfoTest, V2AncestorsAndHighLimitToo) {
  in_group("0::/a/b/c\n");
  group_file("a/b/c/memory.max", 6 * kGiB);
  group_file("a/memory.max", 5 * kGiB);
  group_file("a/memory.current", 2 * kGiB);
  EXPECT_EQ(available(), 3 * kGiB);
  EXPECT_EQ(total(), 5 * kGiB);
  group_file("a/b/memory.high", 2 * kGiB);
  EXPECT_EQ(available(), 2 * kGiB);
  EXPECT_EQ(total(), 2 * kGiB);
}

// In a container the path is the host's, and the container's group is what is mounted.
TEST_F(MemoryInfoTest, V2GroupOfAContainer) {
  in_group("0::/docker/0123\n");
  group_file("memory.max", 2 * kGiB);
  group_file("memory.current", kGiB);
  EXPECT_EQ(available(), kGiB);
}

TEST_F(MemoryInfoTest, V1) {
  in_group("9:name=systemd:/\n5:cpu,cpuacct:/x\n4:memory:/job/inner\n0::/\n");
  group_file("memory/memory.limit_in_bytes", 9223372036854771712u);
  group_file("memory/job/memory.limit_in_bytes", 3 * kGiB);
  group_file("memory/job/memory.usage_in_bytes", 2 * kGiB);
  folder_.write("sys/fs/cgroup/memory/job/memory.stat",
                "inactive_file 1\ntotal_inactive_file 1048576\ntotal_active_file 1048576\n");
  EXPECT_EQ(available(), kGiB + 2 * kMiB);
  EXPECT_EQ(total(), 3 * kGiB);
  group_file("memory/job/inner/memory.limit_in_bytes", kGiB);
  group_file("memory/job/inner/memory.usage_in_bytes", 2 * kGiB);  // a limit lowered below the use
  EXPECT_EQ(available(), 0u);
}

TEST_F(MemoryInfoTest, DamagedFilesAreIgnoredOrNamed) {
  in_group("nonsense\n0:\n::\n0::/a\n");
  folder_.write("sys/fs/cgroup/a/memory.max", "lots\n");
  EXPECT_EQ(available(), 8 * kGiB);
  folder_.write("proc/meminfo", "MemTotal: many\n");
  try {
    available();
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("MemAvailable"), std::string::npos);
  }
}

TEST(MemoryInfoOfThisMachineTest, IsPlausible) {
  EXPECT_GT(available_memory_bytes(), 16 * kMiB);
  EXPECT_LE(available_memory_bytes(), total_memory_bytes());
  const uint64_t before = peak_rss_bytes();
  EXPECT_GT(before, kMiB / 2);
  AlignedBuffer buffer(64 * kMiB + before);
  std::fill(buffer.span().begin(), buffer.span().end(), std::byte{1});
  EXPECT_GE(peak_rss_bytes(), 64 * kMiB + before);
  EXPECT_GE(rss_bytes(), 64 * kMiB);
  EXPECT_LE(rss_bytes(), peak_rss_bytes());
}

}  // namespace
}  // namespace flashmoe

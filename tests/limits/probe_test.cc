// That probes measure something: how much is the machine's business.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <random>
#include <vector>

#include "base/error.h"
#include "limits/disk_probe.h"
#include "limits/machine_name.h"
#include "limits/machine_probe.h"
#include "limits/probe_loops.h"
#include "tests/base/temp_folder.h"

namespace flashmoe::limits {
namespace {

using kernels::cpu::Isa;

class ProbeLoopsTest : public testing::TestWithParam<Isa> {};

TEST_P(ProbeLoopsTest, SumsEveryWord) {
  if (!kernels::cpu::isa_supported(GetParam())) GTEST_SKIP() << "not on this processor";
  std::vector<uint64_t> words(8 * kSumStep);
  std::mt19937_64 random(1);
  uint64_t expected = 0;
  for (uint64_t& word : words) expected += word = random();
  const auto* data = reinterpret_cast<const std::byte*>(words.data());
  const ProbeLoops& loops = probe_loops(GetParam());
  EXPECT_EQ(loops.sum(data, words.size() * sizeof(uint64_t)), expected);
  EXPECT_EQ(loops.sum(data, 0), 0u);
  EXPECT_GT(loops.ops_per_round, 0);
  loops.multiply_add(3);
}
INSTANTIATE_TEST_SUITE_P(Isas, ProbeLoopsTest,
                         testing::Values(Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kNeon),
                         [](const auto& info) { return kernels::cpu::isa_name(info.param); });

TEST(MachineProbeTest, GivesRates) {
  ThreadPool pool(2);
  MachineProbe probe(pool, size_t{8} << 20);
  EXPECT_EQ(probe.buffer_bytes(), size_t{8} << 20);
  EXPECT_GT(probe.memory_bytes_s(0.01), 0);
  EXPECT_TRUE(std::isfinite(probe.memory_bytes_s(0.01)));
  EXPECT_GT(probe.int8_ops_s(0.01), 0);
  EXPECT_FALSE(machine_name().empty());
}

class DiskProbeTest : public testing::Test {
 protected:
  std::string file(size_t bytes) {
    const std::string path = temp_.path() + "/" + std::to_string(bytes);
    std::ofstream(path, std::ios::binary) << std::string(bytes, 'x');
    return path;
  }
  DiskProbeOptions options() const {
    DiskProbeOptions o;
    o.read_bytes = 40000;
    o.seconds = 0.05;
    return o;
  }
  const TempFolder temp_;
};

TEST_F(DiskProbeTest, ReadsBufferedEverywhere) {
  EXPECT_GT(disk_bytes_s(file(1 << 20), ReadMode::kBuffered, options()), 0);
}

TEST_F(DiskProbeTest, DirectWaysGiveARateOrZero) {
  const std::string path = file(1 << 20);
  for (ReadMode mode : {ReadMode::kUring, ReadMode::kPread, ReadMode::kSequential}) {
    const double rate = disk_bytes_s(path, mode, options());
    EXPECT_GE(rate, 0);
    EXPECT_TRUE(std::isfinite(rate));
  }
}

TEST_F(DiskProbeTest, AFileSmallerThanAReadHasNoRate) {
  EXPECT_EQ(disk_bytes_s(file(100), ReadMode::kBuffered, options()), 0);
  EXPECT_EQ(disk_bytes_s(file(0), ReadMode::kBuffered, options()), 0);
  EXPECT_THROW(disk_bytes_s(temp_.path() + "/nothing", ReadMode::kBuffered, options()), Error);
}

}  // namespace
}  // namespace flashmoe::limits

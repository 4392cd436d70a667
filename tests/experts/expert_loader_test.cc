#include "experts/expert_loader.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/error.h"
#include "io/fault_queue.h"
#include "io/make_read_queue.h"

namespace flashmoe::experts {
namespace {

// A file of random bytes that holds 12 experts of 4-bit matrices [64, 64], scattered.
class ExpertLoaderTest : public testing::Test {
 protected:
  static constexpr int kExperts = 12;

  ExpertLoaderTest() : index_(1, kExperts) {
    path_ = std::filesystem::temp_directory_path() /
            ("flashmoe_loader_" + std::to_string(getpid()) + ".bin");
    std::mt19937 random(5);
    bytes_.resize(800001);
    for (std::byte& b : bytes_) b = std::byte(random());
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes_.data()),
               static_cast<std::streamsize>(bytes_.size()));
    const quant::Format format{quant::Encoding::kAffine, quant::DType::kBf16, 4, 64};
    ExpertIndex::Layer layer{format, format, format, 64, 64, {}};
    for (int e = 0; e < kExperts; ++e) {
      ExpertParts parts;
      for (int p = 0; p < kParts; ++p) {
        const int part = p % kMatrixParts;  // codes, scales, biases; no groups of inputs
        if (part == 3) continue;
        const uint64_t bytes = part == 0 ? 2048 : 128;
        // The last expert's last part ends with the file.
        const uint64_t offset =
            e == kExperts - 1 && p == kParts - 2
                ? bytes_.size() - bytes
                : 5500u * static_cast<uint64_t>((e * kParts + p)) + random() % 3000;
        parts[p] = {0, offset, bytes};
      }
      layer.parts.push_back(parts);
    }
    index_.set_layer(0, std::move(layer));
  }
  ~ExpertLoaderTest() override { std::filesystem::remove(path_); }

  void expect_right(const ExpertLoader::Loaded& loaded) const {
    const ExpertParts& parts = index_.layer(0).parts[loaded.key];
    for (int m = 0; m < 3; ++m) {
      const kernels::FileMatrix& matrix = loaded.gate_up_down[m];
      const std::byte* got[3] = {matrix.codes, matrix.scales, matrix.biases};
      for (int p = 0; p < 3; ++p) {
        const format::Extent& extent = parts[m * kMatrixParts + p];
        EXPECT_EQ(std::memcmp(got[p], bytes_.data() + extent.offset, extent.bytes), 0)
            << "expert " << loaded.key << " part " << m * kMatrixParts + p;
      }
    }
  }

  // Loads all experts, as many at once as there are buffers.
  void load_all(ExpertLoader& loader) {
    int next = 0, done = 0;
    while (done < kExperts) {
      while (next < kExperts && loader.can_start()) loader.start(next++);
      const ExpertLoader::Loaded loaded = loader.wait();
      expect_right(loaded);
      loader.release(loaded);
      ++done;
    }
    EXPECT_EQ(loader.in_flight(), 0);
  }

  std::string path_;
  std::vector<std::byte> bytes_;
  ExpertIndex index_;
};

TEST_F(ExpertLoaderTest, BringsEveryPart) {
  for (io::Access access : {io::Access::kBuffered, io::Access::kDirect}) {
    for (int buffers : {1, 2, 5}) {
      std::vector<io::File> files;
      files.emplace_back(path_, access);
      const auto queue = io::make_read_queue(io::QueueKind::kAuto);
      ExpertLoader loader(index_, files, *queue, buffers);
      load_all(loader);
      EXPECT_GE(loader.read_bytes(), kExperts * index_.expert_bytes(0));
    }
  }
}

// What was loaded is the caller's; the ring goes on with other memory.
TEST_F(ExpertLoaderTest, ExchangesItsMemory) {
  std::vector<io::File> files;
  files.emplace_back(path_, io::Access::kDirect);
  const auto queue = io::make_read_queue(io::QueueKind::kAuto);
  ExpertLoader loader(index_, files, *queue, 2);
  const size_t bytes = loader.buffer_bytes();
  AlignedBuffer others(bytes * kExperts);
  std::vector<ExpertLoader::Loaded> kept;
  for (ExpertKey key = 0; key < kExperts; ++key) {
    loader.start(key);
    kept.push_back(loader.wait());
    std::byte* memory = others.data() + bytes * static_cast<size_t>(key);
    EXPECT_EQ(loader.exchange(kept.back(), memory), kept.back().memory);
  }
  for (const ExpertLoader::Loaded& loaded : kept) expect_right(loaded);
  load_all(loader);  // where others are
}

TEST_F(ExpertLoaderTest, AsksAgainAfterShortReads) {
  for (io::Access access : {io::Access::kBuffered, io::Access::kDirect}) {
    std::vector<io::File> files;
    files.emplace_back(path_, access);
    io::FaultRates rates;
    rates.short_read = 0.7;
    rates.reorder = 0.5;
    io::FaultQueue queue(io::make_read_queue(io::QueueKind::kPread), rates, 11);
    ExpertLoader loader(index_, files, queue, 3);
    load_all(loader);
    if (access == io::Access::kBuffered) {
      EXPECT_GT(queue.counts().short_reads, 0u);
    }
  }
}

TEST_F(ExpertLoaderTest, AFailedReadIsAnErrorAndTheLoaderGoesOn) {
  std::vector<io::File> files;
  files.emplace_back(path_, io::Access::kBuffered);
  io::FaultRates rates;
  rates.error = 0.1;
  io::FaultQueue queue(io::make_read_queue(io::QueueKind::kPread), rates, 2);
  ExpertLoader loader(index_, files, queue, 3);
  int failures = 0, right = 0;
  for (int time = 0; time < 20; ++time) {
    try {
      loader.start(time % kExperts);
      const ExpertLoader::Loaded loaded = loader.wait();
      expect_right(loaded);
      loader.release(loaded);
      ++right;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kIo);
      EXPECT_NE(std::string(error.what()).find(path_), std::string::npos);
      EXPECT_NE(std::string(error.what()).find("offset"), std::string::npos);
      loader.drain();
      ++failures;
    }
  }
  EXPECT_GT(failures, 0);
  EXPECT_GT(right, 0);
}

TEST_F(ExpertLoaderTest, AFileThatEndsTooSoonIsAnError) {
  for (io::Access access : {io::Access::kBuffered, io::Access::kDirect}) {
    std::vector<io::File> files;
    files.emplace_back(path_, access);
    std::filesystem::resize_file(path_, bytes_.size() - 10);
    const auto queue = io::make_read_queue(io::QueueKind::kPread);
    ExpertLoader loader(index_, files, *queue, 1);
    loader.start(kExperts - 1);
    try {
      loader.wait();
      FAIL() << "the last part is cut off";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("ends"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace flashmoe::experts

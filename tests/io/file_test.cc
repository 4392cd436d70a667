#include "io/file.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "tests/io/random_bytes.h"

namespace flashmoe::io {
namespace {

class FileTest : public testing::TestWithParam<Access> {
 protected:
  TempFolder folder_;
};

TEST_P(FileTest, ReadsAnyRange) {
  const std::string content = random_bytes((size_t{3} << 20) + 1234, 1);
  const File file(folder_.write("a", content), GetParam());
  EXPECT_EQ(file.size(), content.size());
  EXPECT_EQ(file.direct(), file.alignment() > 1);
  if (GetParam() == Access::kBuffered) {
    EXPECT_EQ(file.alignment(), 1u);
  }
  std::mt19937 random(2);
  std::vector<std::byte> got(content.size() + 1);
  const auto expect_range = [&](size_t offset, size_t bytes, size_t shift) {
    file.read_exact(offset, bytes, got.data() + shift);
    const std::string_view read(reinterpret_cast<const char*>(got.data()) + shift, bytes);
    EXPECT_TRUE(read == std::string_view(content).substr(offset, bytes)) << offset << " " << bytes;
  };
  expect_range(0, content.size(), 0);
  expect_range(0, content.size(), 1);
  expect_range(content.size(), 0, 0);
  expect_range(content.size() - 1, 1, 0);
  for (int i = 0; i < 200; ++i) {
    const size_t offset = random() % content.size();
    const size_t limit = i % 2 == 0 ? 10000 : content.size();
    expect_range(offset, 1 + random() % std::min(content.size() - offset, limit), random() % 2);
  }
}

TEST_P(FileTest, ReadsIntoAlignedMemory) {
  const std::string content = random_bytes(size_t{1} << 20, 3);
  const File file(folder_.write("a", content), GetParam());
  AlignedBuffer buffer(content.size());
  file.read_exact(8192, content.size() - 8192, buffer.data());
  EXPECT_TRUE(std::string_view(reinterpret_cast<const char*>(buffer.data()),
                               content.size() - 8192) == std::string_view(content).substr(8192));
}

TEST_P(FileTest, SaysWhereTheFileEnds) {
  const std::string path = folder_.write("a", random_bytes(10000, 4));
  const File file(path, GetParam());
  std::vector<std::byte> got(20000);
  AlignedBuffer aligned(16384);
  const auto message = [&](uint64_t offset, size_t bytes, std::byte* destination) -> std::string {
    try {
      file.read_exact(offset, bytes, destination);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kIo);
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(message(9000, 1001, got.data()), path + ": the file ends at 10000, 1 bytes short");
  EXPECT_EQ(message(0, 12288, aligned.data()), path + ": the file ends at 10000, 2288 bytes short");
  EXPECT_EQ(message(20000, 5, got.data()).substr(0, path.size() + 18), path + ": the file ends at");
}

TEST_P(FileTest, EmptyFile) {
  const File file(folder_.write("a", ""), GetParam());
  EXPECT_EQ(file.size(), 0u);
  file.read_exact(0, 0, nullptr);
}

TEST_P(FileTest, RefusesWhatIsNoFile) {
  const auto code = [&](const std::string& path) {
    try {
      const File file(path, GetParam());
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(path), std::string::npos);
      return e.code();
    }
    return ErrorCode::kCancelled;
  };
  EXPECT_EQ(code(folder_.file("missing")), ErrorCode::kNotFound);
  EXPECT_EQ(code(folder_.path()), ErrorCode::kIo);
  EXPECT_EQ(code("/dev/zero"), ErrorCode::kIo);
}

INSTANTIATE_TEST_SUITE_P(Both, FileTest, testing::Values(Access::kBuffered, Access::kDirect));

TEST(FileTest, Moves) {
  const TempFolder folder;
  File a(folder.write("a", "content"));
  const int fd = a.fd();
  File b = std::move(a);
  EXPECT_EQ(b.fd(), fd);
  EXPECT_EQ(a.fd(), -1);
  File c(folder.write("c", "other"));
  c = std::move(b);
  EXPECT_EQ(c.path(), folder.file("a"));
  char got[7];
  c.read_exact(0, 7, reinterpret_cast<std::byte*>(got));
  EXPECT_EQ(std::string_view(got, 7), "content");
}

// Files of file systems without direct reads are read through the page cache.
TEST(FileTest, DirectFallsBack) {
  const std::string path = "/proc/self/status";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no /proc here";
  const File file(path, Access::kDirect);
  EXPECT_FALSE(file.direct());
  EXPECT_EQ(file.alignment(), 1u);
  char got[5];
  file.read_exact(0, 5, reinterpret_cast<std::byte*>(got));
  EXPECT_EQ(std::string_view(got, 5), "Name:");
}

}  // namespace
}  // namespace flashmoe::io

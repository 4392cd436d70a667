#include "base/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

size_t entries(const TempFolder& folder) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()));
}

TEST(AtomicFileTest, AppearsOnCommit) {
  const TempFolder folder;
  AtomicFile file(folder.file("a"));
  file.write("hello ");
  file.write("world");
  EXPECT_EQ(file.written_bytes(), 11u);
  EXPECT_FALSE(fs::exists(folder.file("a")));
  file.commit();
  EXPECT_EQ(folder.read("a"), "hello world");
  EXPECT_EQ(entries(folder), 1u);
}

TEST(AtomicFileTest, AbandonedLeavesNothing) {
  const TempFolder folder;
  folder.write("a", "old");
  {
    AtomicFile file(folder.file("a"));
    file.write("new");
    EXPECT_EQ(entries(folder), 2u);
  }
  EXPECT_EQ(folder.read("a"), "old");
  EXPECT_EQ(entries(folder), 1u);
}

TEST(AtomicFileTest, TwoWritersDoNotMix) {
  const TempFolder folder;
  AtomicFile first(folder.file("a"));
  AtomicFile second(folder.file("a"));
  first.write("first");
  second.write("second");
  second.commit();
  EXPECT_EQ(folder.read("a"), "second");
  first.commit();
  EXPECT_EQ(folder.read("a"), "first");
}

TEST(AtomicFileTest, WritesThroughSymbolicLinks) {
  const TempFolder folder;
  folder.write("target", "old");
  fs::create_symlink("target", folder.file("link"));
  AtomicFile file(folder.file("link"));
  file.write("new");
  file.commit();
  EXPECT_TRUE(fs::is_symlink(folder.file("link")));
  EXPECT_EQ(folder.read("target"), "new");
}

TEST(AtomicFileTest, RefusesFoldersDevicesAndMissingFolders) {
  const TempFolder folder;
  for (const std::string& path :
       {folder.path(), std::string("/dev/null"), folder.file("missing/a")}) {
    try {
      AtomicFile file(path);
      ADD_FAILURE() << path;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kIo);
      EXPECT_NE(std::string(e.what()).find(path), std::string::npos) << e.what();
    }
  }
}

// Fails as on a full disk: this process may not write files of more than 4096 bytes.
[[noreturn]] void write_too_much(const TempFolder& folder) {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{4096, 4096};
  setrlimit(RLIMIT_FSIZE, &limit);
  try {
    AtomicFile file(folder.file("a"));
    file.write(std::string(10000, 'x'));
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    std::_Exit(fs::is_empty(folder.path()) ? 3 : 4);
  }
  std::_Exit(5);
}

TEST(AtomicFileDeathTest, AFailedWriteIsAnErrorAndLeavesNothing) {
  const TempFolder folder;
  EXPECT_EXIT(write_too_much(folder), testing::ExitedWithCode(3), "/a: cannot write at 4096: ");
}

}  // namespace
}  // namespace flashmoe

#include "format/gguf_checkpoint.h"

#include <gtest/gtest.h>

#include "tests/base/temp_folder.h"
#include "tests/format/files.h"
#include "tests/format/gguf_bytes.h"

namespace flashmoe::format {
namespace {

using quant::DType;
using quant::Encoding;

TEST(GgufCheckpoint, OpensAFile) {
  const TempFolder folder;
  const std::string path = folder.file("m.gguf");
  GgufFile file;
  file.text("general.architecture", "qwen3moe").u32("qwen3moe.block_count", 2);
  file.i32s("list", {1, 2}).texts("tokenizer.ggml.tokens", {"a"});
  file.u32("tokenizer.ggml.eos_token_id", 5);
  file.tensor("z.weight", {4, 3, 2}, 30, std::string(48, 'z'));
  file.tensor("a.weight", {6}, 0, std::string(24, 'a'));
  folder.write("m.gguf", file.bytes());
  const auto checkpoint = Checkpoint::open(path);
  EXPECT_EQ(checkpoint->path(), path);
  EXPECT_EQ(checkpoint->files(), std::vector<std::string>{path});
  EXPECT_EQ(checkpoint->config().at("qwen3moe.block_count"), 2);
  EXPECT_EQ(checkpoint->config().at("list").size(), 2u);
  EXPECT_EQ(checkpoint->config().at("tokenizer.ggml.eos_token_id"), 5);
  EXPECT_FALSE(checkpoint->config().contains("tokenizer.ggml.tokens"));
  ASSERT_EQ(checkpoint->tensors().size(), 2u);
  EXPECT_EQ(checkpoint->tensors()[0].name, "a.weight");
  EXPECT_EQ(checkpoint->find("none"), nullptr);

  const std::optional<MatrixInfo> z = checkpoint->find_matrix("z", 4);
  ASSERT_TRUE(z);
  EXPECT_EQ(z->count, 2);
  EXPECT_EQ(z->rows, 3);
  EXPECT_EQ(z->cols, 4);
  EXPECT_EQ(z->format.encoding, Encoding::kPlain);
  EXPECT_EQ(z->format.dtype, DType::kBf16);
  EXPECT_EQ(file.bytes().substr(z->codes.offset, z->codes.bytes), std::string(48, 'z'));
  const std::optional<MatrixInfo> a = checkpoint->find_matrix("a");
  ASSERT_TRUE(a);
  EXPECT_EQ(a->rows, 1);
  EXPECT_EQ(a->cols, 6);
  EXPECT_FALSE(checkpoint->find_matrix("none"));
  expect_error(ErrorCode::kCorrupt, {path, "tensor z.weight", "BF16 [2, 3, 4]", "4 inputs"},
               [&] { checkpoint->find_matrix("z", 8); });
}

TEST(GgufCheckpoint, UnsupportedTypesAreNoObstacleBeforeTheyAreAskedFor) {
  const TempFolder folder;
  folder.write("m.gguf", GgufFile().tensor("x.weight", {4, 2}, 26, std::string(32, 'x')).bytes());
  const auto checkpoint = Checkpoint::open(folder.file("m.gguf"));
  expect_error(ErrorCode::kUnsupported, {folder.file("m.gguf"), "tensor x.weight", "I32"},
               [&] { checkpoint->find_matrix("x"); });
}

GgufFile part(uint16_t number, uint16_t count, int32_t total) {
  GgufFile file;
  return file.u16("split.no", number).u16("split.count", count).i32("split.tensors.count", total);
}

class SplitGguf : public testing::Test {
 protected:
  SplitGguf() {
    write(1, part(0, 2, 3).text("general.architecture", "a").tensor("t1", {8}, 0, data('1')));
    // Another alignment, and no architecture.
    GgufFile second = part(1, 2, 3);
    second.alignment = 64;
    second.u32("general.alignment", 64);
    write(2, second.tensor("t0", {8}, 0, data('0')).tensor("t2", {8}, 0, data('2')));
  }

  static std::string data(char value) { return std::string(32, value); }
  std::string path(int number) const {
    return folder_.file("m-0000" + std::to_string(number) + "-of-00002.gguf");
  }
  void write(int number, const GgufFile& file) {
    folder_.write("m-0000" + std::to_string(number) + "-of-00002.gguf", file.bytes());
  }
  void expect_corrupt(const std::vector<std::string>& parts) const {
    expect_error(ErrorCode::kCorrupt, parts, [&] { Checkpoint::open(path(1)); });
  }

  TempFolder folder_;
};

TEST_F(SplitGguf, OpensByAnyPart) {
  for (const int number : {1, 2}) {
    const auto checkpoint = Checkpoint::open(path(number));
    EXPECT_EQ(checkpoint->path(), path(1));
    EXPECT_EQ(checkpoint->files(), (std::vector<std::string>{path(1), path(2)}));
    EXPECT_EQ(checkpoint->config().at("general.architecture"), "a");
    ASSERT_EQ(checkpoint->tensors().size(), 3u);
    for (const char i : {'0', '1', '2'}) {
      const TensorInfo* tensor = checkpoint->find(std::string("t") + i);
      ASSERT_NE(tensor, nullptr);
      const std::string bytes = read_file(checkpoint->files()[tensor->extent.file]);
      EXPECT_EQ(bytes.substr(tensor->extent.offset, tensor->extent.bytes), data(i));
    }
  }
}

TEST_F(SplitGguf, RefusesWhatDoesNotFit) {
  write(2, part(1, 3, 3).tensor("t0", {8}, 0, data('0')).tensor("t2", {8}, 0, data('2')));
  expect_corrupt({path(2), "part 2 of 2"});
  write(2, part(0, 2, 3).tensor("t0", {8}, 0, data('0')).tensor("t2", {8}, 0, data('2')));
  expect_corrupt({path(2), "part 2 of 2"});
  write(2, GgufFile().tensor("t0", {8}, 0, data('0')).tensor("t2", {8}, 0, data('2')));
  expect_corrupt({path(2), "part 2 of 2"});
  write(2, part(1, 2, 3).tensor("t0", {8}, 0, data('0')));
  expect_corrupt({path(1), "split.tensors.count is 3", "2 tensors"});
  write(2, part(1, 2, 3).tensor("t0", {8}, 0, data('0')).tensor("t1", {8}, 0, data('2')));
  expect_corrupt({path(2), "tensor t1", "is also in " + path(1)});
  write(1, part(0, 2, 3).text("split.no", "0").tensor("t1", {8}, 0, data('1')));
  expect_corrupt({path(1), "twice"});
}

TEST_F(SplitGguf, SaysWhichPartsAreMissing) {
  std::filesystem::remove(path(2));
  expect_error(ErrorCode::kNotFound, {"1 of the model's 2", "m-00002-of-00002.gguf", "download"},
               [&] { Checkpoint::open(path(1)); });
  std::filesystem::copy(path(1), folder_.file("other.gguf"));
  expect_error(ErrorCode::kUnsupported,
               {folder_.file("other.gguf"), "part 1 of a model in 2 files", "-of-00002.gguf"},
               [&] { Checkpoint::open(folder_.file("other.gguf")); });
}

}  // namespace
}  // namespace flashmoe::format

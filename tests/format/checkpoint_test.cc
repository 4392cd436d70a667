// Folders of safetensors files: which are read, and what is refused between them.
#include "format/checkpoint.h"

#include <gtest/gtest.h>

#include "tests/base/temp_folder.h"
#include "tests/format/files.h"

namespace flashmoe::format {
namespace {

// A file with these U8 tensors of 4 bytes.
std::string file_with(const std::vector<std::string>& names) {
  std::string json = "{";
  for (size_t i = 0; i < names.size(); ++i) {
    json += fmt::format(R"({}"{}":{{"dtype":"U8","shape":[4],"data_offsets":[{},{}]}})",
                        i == 0 ? "" : ",", names[i], 4 * i, 4 * i + 4);
  }
  return safetensors_bytes(json + "}", 4 * names.size());
}

constexpr const char* kFirst = "model-00001-of-00002.safetensors";
constexpr const char* kSecond = "model-00002-of-00002.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() { folder_.write("config.json", R"({"model_type":"x"})"); }

  void write_shards() {
    folder_.write(kFirst, file_with({"a", "c"}));
    folder_.write(kSecond, file_with({"b"}));
  }
  // {tensor: file} as the body of weight_map.
  void write_index(const std::string& map) {
    folder_.write(kIndex, R"({"metadata":{},"weight_map":{)" + map + "}}");
  }
  void write_good_index() {
    write_index(fmt::format(R"("a":"{}","b":"{}","c":"{}")", kFirst, kSecond, kFirst));
  }
  void expect_refused(ErrorCode code, const std::vector<std::string>& parts) {
    expect_error(code, parts, [&] { Checkpoint::open(folder_.path()); });
  }
  void expect_three_tensors() {
    const auto checkpoint = Checkpoint::open(folder_.path());
    ASSERT_EQ(checkpoint->tensors().size(), 3u);
    for (size_t i = 0; i < 3; ++i) {
      const std::string name(1, static_cast<char>('a' + i));
      EXPECT_EQ(checkpoint->tensors()[i].name, name);
      EXPECT_EQ(checkpoint->find(name), &checkpoint->tensors()[i]);
    }
    EXPECT_EQ(checkpoint->files(),
              (std::vector<std::string>{folder_.file(kFirst), folder_.file(kSecond)}));
    EXPECT_EQ(checkpoint->find("b")->extent.file, 1);
    EXPECT_EQ(checkpoint->find("d"), nullptr);
    EXPECT_EQ(checkpoint->find(""), nullptr);
  }

  TempFolder folder_;
};

TEST_F(CheckpointTest, ReadsOneFile) {
  folder_.write("model.safetensors", file_with({"b", "a"}));
  folder_.write("other.safetensors", "not read");
  const auto checkpoint = Checkpoint::open(folder_.path());
  EXPECT_EQ(checkpoint->path(), folder_.path());
  EXPECT_EQ(checkpoint->config().at("model_type"), "x");
  ASSERT_EQ(checkpoint->tensors().size(), 2u);
  EXPECT_EQ(checkpoint->tensors()[0].name, "a");
}

TEST_F(CheckpointTest, ReadsShardsWithAndWithoutIndex) {
  write_shards();
  expect_three_tensors();
  write_good_index();
  expect_three_tensors();
}

TEST_F(CheckpointTest, FollowsTheLinksOfTheHuggingFaceCache) {
  folder_.write("blobs/1", file_with({"a"}));
  folder_.write("snapshots/r/config.json", "{}");
  std::filesystem::create_symlink("../../blobs/1", folder_.file("snapshots/r/model.safetensors"));
  EXPECT_EQ(Checkpoint::open(folder_.file("snapshots/r"))->tensors().size(), 1u);
  std::filesystem::remove(folder_.file("blobs/1"));
  expect_error(
      ErrorCode::kNotFound,
      {folder_.file("snapshots/r/model.safetensors"), "links to ../../blobs/1", "download"},
      [&] { Checkpoint::open(folder_.file("snapshots/r")); });
}

TEST_F(CheckpointTest, RefusesFoldersWithoutAModel) {
  expect_refused(ErrorCode::kNotFound, {folder_.path(), "no weights", "no *.safetensors"});
  folder_.write("pytorch_model.bin", "x");
  expect_refused(ErrorCode::kNotFound, {"PyTorch's .bin"});
  folder_.write("model.safetensors.incomplete", "x");
  expect_refused(ErrorCode::kNotFound, {"download did not finish"});
  folder_.write("config.json", "[]");
  expect_refused(ErrorCode::kCorrupt, {folder_.file("config.json"), "not a JSON object"});
  std::filesystem::remove(folder_.file("config.json"));
  expect_refused(ErrorCode::kNotFound, {folder_.file("config.json"), "no such file"});
}

TEST_F(CheckpointTest, NamesMissingShards) {
  write_shards();
  std::filesystem::remove(folder_.file(kSecond));
  expect_refused(ErrorCode::kNotFound,
                 {folder_.path(), "1 of the model's 2 weight files is missing", kSecond});
  write_good_index();
  expect_refused(ErrorCode::kNotFound,
                 {folder_.path(), "1 of the model's 2 weight files is missing", kSecond});
  folder_.write(std::string(kSecond) + ".incomplete", "x");
  expect_refused(ErrorCode::kNotFound, {kSecond, "did not finish"});
}

TEST_F(CheckpointTest, RefusesHalfDownloadedFiles) {
  const std::string whole = file_with({"a", "b"});
  folder_.write("model.safetensors", whole.substr(0, whole.size() - 1));
  expect_refused(ErrorCode::kCorrupt,
                 {folder_.file("model.safetensors"), "tensor b:", "download did not finish"});
  folder_.write("model.safetensors", whole.substr(0, 20));
  expect_refused(ErrorCode::kCorrupt, {folder_.file("model.safetensors"), "did not finish"});
  folder_.write("model.safetensors", "");
  expect_refused(ErrorCode::kCorrupt, {folder_.file("model.safetensors"), "empty"});
  folder_.write("model.safetensors",
                "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 123\n");
  expect_refused(ErrorCode::kCorrupt,
                 {folder_.file("model.safetensors"), "Git LFS pointer", "lfs pull"});
  folder_.write("model.safetensors", "<!DOCTYPE html><html>Not found</html>");
  expect_refused(ErrorCode::kCorrupt,
                 {folder_.file("model.safetensors"), "not a safetensors file"});
}

TEST_F(CheckpointTest, ChecksTheIndexAgainstTheShards) {
  write_shards();
  write_index(fmt::format(R"("a":"{}","b":"{}")", kFirst, kSecond));
  expect_refused(ErrorCode::kCorrupt, {folder_.file(kFirst), "tensor c:", "missing from", kIndex});
  write_index(fmt::format(R"("a":"{0}","b":"{1}","c":"{1}")", kFirst, kSecond));
  expect_refused(ErrorCode::kCorrupt, {folder_.file(kIndex), "tensor c:", folder_.file(kSecond)});
  write_index(fmt::format(R"("a":"{0}","b":"{1}","c":"{0}","d":"{0}")", kFirst, kSecond));
  expect_refused(ErrorCode::kCorrupt, {folder_.file(kIndex), "tensor d:", folder_.file(kFirst)});
}

TEST_F(CheckpointTest, RefusesATensorInTwoFiles) {
  folder_.write(kFirst, file_with({"a", "b"}));
  folder_.write(kSecond, file_with({"b"}));
  expect_refused(ErrorCode::kCorrupt,
                 {folder_.file(kSecond), "tensor b:", "also in", folder_.file(kFirst)});
  write_index(fmt::format(R"("a":"{0}","b":"{1}")", kFirst, kSecond));
  expect_refused(ErrorCode::kCorrupt, {"tensor b:", "also in"});
}

TEST_F(CheckpointTest, RefusesShardsOutsideOfTheFolder) {
  folder_.write("x.safetensors", file_with({"a"}));
  folder_.write("inner/config.json", "{}");
  for (const std::string& shard :
       {std::string("../x.safetensors"), folder_.file("x.safetensors"),
        std::string("b/../../x.safetensors"), std::string("config.json"), std::string()}) {
    const std::string index = fmt::format("inner/{}", kIndex);
    folder_.write(index, fmt::format(R"({{"weight_map":{{"a":"{}"}}}})", shard));
    expect_error(ErrorCode::kCorrupt, {folder_.file(index), "tensor a:"},
                 [&] { Checkpoint::open(folder_.file("inner")); });
  }
}

TEST_F(CheckpointTest, RefusesBrokenIndexes) {
  write_shards();
  for (const char* index : {"[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})"}) {
    folder_.write(kIndex, index);
    expect_refused(ErrorCode::kCorrupt, {folder_.file(kIndex), "no weight_map"});
  }
  write_index(R"("a":7)");
  expect_refused(ErrorCode::kCorrupt, {folder_.file(kIndex), "tensor a:", "7, not a name"});
  write_index(R"("a":"x.safetensors","a":"x.safetensors")");
  expect_refused(ErrorCode::kCorrupt, {folder_.file(kIndex), "\"a\" twice"});
  folder_.write(kIndex, "version https://git-lfs.github.com/spec/v1\n");
  expect_refused(ErrorCode::kCorrupt, {folder_.file(kIndex), "Git LFS"});
}

}  // namespace
}  // namespace flashmoe::format

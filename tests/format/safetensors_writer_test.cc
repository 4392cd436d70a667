#include "format/safetensors_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "format/checkpoint.h"
#include "tests/base/temp_folder.h"
#include "tests/format/files.h"

namespace flashmoe::format {
namespace {

using quant::DType;

const std::vector<SafetensorsWriter::Tensor> kTensors = {
    {"z", DType::kF32, {2, 5}}, {"a", DType::kU8, {7}},      {"empty", DType::kBf16, {0, 3}},
    {"m", DType::kF32, {50}},   {"scalar", DType::kF16, {}}, {"k", DType::kU32, {3, 2, 2}}};
constexpr size_t kBytes = 40 + 7 + 0 + 200 + 2 + 48;

std::vector<std::byte> data() {
  std::vector<std::byte> bytes(kBytes);
  for (size_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<std::byte>(i * 37 + i / 256);
  return bytes;
}

std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

// Writes kTensors in pieces of so many bytes, and checks that they read back.
std::unique_ptr<Checkpoint> round_trip(const TempFolder& folder, uint64_t max_shard_bytes,
                                       size_t piece_bytes) {
  folder.write("config.json", "{}");
  SafetensorsWriter writer(folder.path(), kTensors, {max_shard_bytes, "mlx"});
  const std::vector<std::byte> bytes = data();
  for (size_t at = 0; at < bytes.size(); at += piece_bytes) {
    writer.write(std::span(bytes).subspan(at, std::min(piece_bytes, bytes.size() - at)));
  }
  writer.finish();

  auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint->tensors().size(), kTensors.size());
  size_t at = 0;
  for (const auto& tensor : kTensors) {
    const TensorInfo* found = checkpoint->find(tensor.name);
    if (found == nullptr) {
      ADD_FAILURE() << tensor.name;
      continue;
    }
    EXPECT_EQ(found->dtype, tensor.dtype);
    EXPECT_EQ(found->shape, tensor.shape);
    const std::string file =
        read_file(checkpoint->files()[static_cast<size_t>(found->extent.file)]);
    const std::string expected(reinterpret_cast<const char*>(bytes.data()) + at,
                               found->extent.bytes);
    EXPECT_EQ(file.substr(found->extent.offset, found->extent.bytes), expected) << tensor.name;
    at += found->extent.bytes;
  }
  EXPECT_EQ(at, kBytes);
  return checkpoint;
}

TEST(SafetensorsWriter, WritesOneFile) {
  for (size_t piece : {size_t{1}, size_t{13}, kBytes}) {
    const TempFolder folder;
    const auto checkpoint = round_trip(folder, 1000, piece);
    EXPECT_EQ(checkpoint->files(), std::vector<std::string>{folder.file("model.safetensors")});
    EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"config.json", "model.safetensors",
                                                              "model.safetensors.index.json"}));
    EXPECT_EQ(checkpoint->find("z")->extent.offset % 8, 0u);
  }
}

TEST(SafetensorsWriter, CutsIntoShards) {
  for (size_t piece : {size_t{1}, size_t{64}, kBytes}) {
    const TempFolder folder;
    const auto checkpoint = round_trip(folder, 50, piece);
    // 40 + 7 + 0 bytes, 200 (more than a shard holds), 2 + 48.
    ASSERT_EQ(checkpoint->files().size(), 3u);
    EXPECT_EQ(checkpoint->files()[1], folder.file("model-00002-of-00003.safetensors"));
    EXPECT_EQ(checkpoint->find("m")->extent.file, 1);
    EXPECT_EQ(checkpoint->find("k")->extent.file, 2);
    const auto index =
        nlohmann::json::parse(read_file(folder.file("model.safetensors.index.json")));
    EXPECT_EQ(index.at("metadata").at("total_size"), kBytes);
  }
}

TEST(SafetensorsWriter, WritesNoTensors) {
  const TempFolder folder;
  SafetensorsWriter writer(folder.path(), {});
  writer.finish();
  EXPECT_EQ(read_file(folder.file("model.safetensors")).substr(8, 2), "{\"");
}

TEST(SafetensorsWriter, EndsWithTensorsWithoutData) {
  const TempFolder folder;
  folder.write("config.json", "{}");
  SafetensorsWriter writer(folder.path(), {{"a", DType::kU8, {4}}, {"b", DType::kU8, {0}}},
                           {1, "pt"});
  writer.write(std::vector<std::byte>(4));
  writer.finish();
  EXPECT_EQ(Checkpoint::open(folder.path())->tensors().size(), 2u);
}

TEST(SafetensorsWriter, LeavesNothingWhenAbandoned) {
  const TempFolder folder;
  {
    SafetensorsWriter writer(folder.path(), kTensors, {50, "mlx"});
    writer.write(std::vector<std::byte>(100));
  }
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(SafetensorsWriter, RefusesAFolderThatIsNotThere) {
  const TempFolder folder;
  expect_error(ErrorCode::kIo, {folder.file("gone/model.safetensors")},
               [&] { SafetensorsWriter(folder.file("gone"), kTensors); });
}

}  // namespace
}  // namespace flashmoe::format

// flashmoe pack: what a store holds, that an ended run is taken up, and that damage is found.
#include "convert/pack.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/error.h"
#include "base/stop_signal.h"
#include "base/thread_pool.h"
#include "convert/quantize.h"
#include "convert/verify_store.h"
#include "format/content_reader.h"
#include "format/store.h"
#include "kernels/make_backend.h"
#include "model/config.h"
#include "model/weights.h"
#include "quant/interleaved.h"
#include "tests/base/temp_folder.h"
#include "tests/convert/model_folder.h"

namespace flashmoe::convert {
namespace {

namespace fs = std::filesystem;
using format::Checkpoint;
using format::Extent;
using model::Family;
using quant::DType;

std::string bytes_of(const format::ContentReader& reader, const format::TensorInfo& tensor) {
  std::string bytes;
  for (const Extent& extent : contiguous_extents(tensor)) {
    std::string slice(extent.bytes, '\0');
    reader.read(extent, reinterpret_cast<std::byte*>(slice.data()));
    bytes += slice;
  }
  return bytes;
}

// Codes, scales and biases of one matrix of a stack, row by row.
std::array<std::string, 3> rows_of(const format::ContentReader& reader,
                                   const format::MatrixInfo& matrix, int64_t member) {
  const auto part = [&](const Extent& all) {
    const uint64_t bytes = all.bytes / static_cast<uint64_t>(matrix.count);
    const uint64_t stride = matrix.stride > 0 ? matrix.stride : bytes;
    std::string result(bytes, '\0');
    reader.read({all.file, all.offset + static_cast<uint64_t>(member) * stride, bytes},
                reinterpret_cast<std::byte*>(result.data()));
    return result;
  };
  if (matrix.storage.in_rows()) {
    return {part(matrix.codes), matrix.scales.bytes > 0 ? part(matrix.scales) : "",
            matrix.biases.bytes > 0 ? part(matrix.biases) : ""};
  }
  EXPECT_EQ(matrix.storage.kind, quant::Storage::Kind::kInterleaved);
  const std::string interleaved = part(matrix.codes);
  const auto rows = static_cast<size_t>(matrix.rows);
  std::array<std::string, 3> result = {
      std::string(rows * matrix.format.code_bytes(matrix.cols), '\0'),
      std::string(rows * matrix.format.scale_bytes(matrix.cols), '\0'),
      std::string(rows * matrix.format.bias_bytes(matrix.cols), '\0')};
  const auto bytes = [](std::string& s) { return reinterpret_cast<std::byte*>(s.data()); };
  quant::restore_rows(matrix.format, matrix.cols,
                      reinterpret_cast<const std::byte*>(interleaved.data()), 0, matrix.rows,
                      bytes(result[0]), bytes(result[1]), bytes(result[2]));
  return result;
}

std::map<std::string, std::string> folder_bytes(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    files[entry.path().filename().string()] = {std::istreambuf_iterator<char>(in), {}};
  }
  return files;
}

struct Case {
  const char* name;
  Family family;
  Layout layout;
  int bits = 16;
};

class PackTest : public testing::Test {
 protected:
  std::string source() const { return temp_.file("source"); }
  std::string store() const { return temp_.file("store"); }

  // The code of the error that packing ends with; a failed test when it does not.
  ErrorCode failure() {
    try {
      pack(source(), store());
    } catch (const Error& error) {
      message_ = error.what();
      return error.code();
    }
    ADD_FAILURE() << "it was packed";
    return {};
  }

  void write_source(const Case& c) {
    const std::string plain = c.bits < 16 ? temp_.file("plain") : source();
    ModelFolder(c.family, c.layout, DType::kBf16, {}).write(plain);
    if (c.bits == 16) return;
    quantize(plain, source(), {c.bits, 32, 0, "minmax", ""});
  }

  void flip(const std::string& name, uint64_t offset) {
    std::fstream file(store() + "/" + name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char value = static_cast<char>(file.get() ^ 0x10);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(value);
    ASSERT_TRUE(file.good());
  }

  const TempFolder temp_;
  std::string message_;
};

class PackLayoutsTest : public PackTest, public testing::WithParamInterface<Case> {};

TEST_P(PackLayoutsTest, HoldsEveryTensorToTheBit) {
  write_source(GetParam());
  temp_.write("source/tokenizer.json", "{\"a\": 1}");
  const PackReport report = pack(source(), store());
  EXPECT_EQ(report.resumed_bytes, 0u);
  const auto from = Checkpoint::open(source());
  const auto to = Checkpoint::open(store());
  EXPECT_EQ(to->config(), from->config());
  EXPECT_EQ(temp_.read("store/tokenizer.json"), "{\"a\": 1}");
  const format::ContentReader from_reader(*from, format::Checksums::kIgnore);
  const format::ContentReader to_reader(*to, format::Checksums::kVerify);
  std::set<std::string> interleaved;  // tensors of the source
  for (const format::TensorInfo& tensor : to->tensors()) {
    if (!tensor.interleaved) continue;
    std::string prefix = tensor.name;
    if (prefix.ends_with(".weight")) prefix.resize(prefix.size() - 7);
    const auto expected = from->find_matrix(prefix), actual = to->find_matrix(prefix);
    ASSERT_TRUE(expected && actual) << prefix;
    EXPECT_EQ(actual->format, expected->format);
    ASSERT_EQ(std::tuple(actual->count, actual->rows, actual->cols),
              std::tuple(expected->count, expected->rows, expected->cols));
    for (int64_t m = 0; m < expected->count; ++m) {
      EXPECT_EQ(rows_of(to_reader, *actual, m), rows_of(from_reader, *expected, m)) << prefix;
    }
    interleaved.insert(expected->tensors.begin(), expected->tensors.end());
  }
  EXPECT_FALSE(interleaved.empty());
  for (const format::TensorInfo& expected : from->tensors()) {
    if (interleaved.contains(expected.name)) continue;
    const format::TensorInfo* actual = to->find(expected.name);
    ASSERT_NE(actual, nullptr) << expected.name;
    EXPECT_EQ(actual->dtype, expected.dtype);
    EXPECT_EQ(actual->shape, expected.shape);
    EXPECT_EQ(bytes_of(to_reader, *actual), bytes_of(from_reader, expected)) << expected.name;
  }
  // One read brings an expert, and nothing else.
  ThreadPool pool(1);
  const auto backend = kernels::make_backend("ref", pool);
  const model::ModelConfig config = model::parse_model_config(to->config(), "config.json");
  const model::WeightsPlan weights(*to, config, *backend);
  const experts::ExpertIndex& index = weights.expert_index();
  int64_t records = 0;
  for (int layer = 0; layer < index.layers(); ++layer) {
    if (index.layer(layer).parts.empty()) continue;
    for (int e = 0; e < index.experts(); ++e, ++records) {
      for (const size_t alignment : {1, 4096}) {
        const experts::ExpertReads reads = index.reads(index.key(layer, e), alignment);
        EXPECT_EQ(reads.count, 1);
        EXPECT_EQ(reads.reads[0].offset % 4096, 0u);
      }
    }
  }
  EXPECT_EQ(report.expert_records, records);
  EXPECT_EQ(verify_store(store()).damaged.size(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Models, PackLayoutsTest,
                         testing::Values(Case{"split", Family::kQwen3Moe, Layout::kSplit},
                                         Case{"fused", Family::kQwen35Moe, Layout::kFused},
                                         Case{"wrapped", Family::kQwen35Moe, Layout::kWrapped},
                                         Case{"mlx", Family::kQwen3Next, Layout::kMlx},
                                         Case{"mlx4", Family::kQwen3Next, Layout::kMlx, 4},
                                         Case{"mlx3", Family::kQwen35Moe, Layout::kFused, 3}),
                         [](const auto& info) { return info.param.name; });

TEST_F(PackTest, AStoreOfAStoreIsTheSame) {
  ModelFolder(Family::kQwen35Moe, Layout::kFused, DType::kBf16, {}).write(source());
  pack(source(), store());
  pack(store(), temp_.file("again"));
  EXPECT_EQ(folder_bytes(temp_.file("again")), folder_bytes(store()));
}

TEST_F(PackTest, AStoreIsQuantisedAsItsSource) {
  for (const int bits : {16, 4}) {
    const std::string of = std::to_string(bits);
    const std::string from = temp_.file("from" + of), packed = temp_.file("packed" + of);
    ModelFolder(Family::kQwen35Moe, Layout::kFused, DType::kBf16, {}).write(temp_.file("bf16"));
    if (bits == 16) {
      fs::rename(temp_.file("bf16"), from);
    } else {
      quantize(temp_.file("bf16"), from, {bits, 32, 0, "minmax", ""});
    }
    pack(from, packed);
    quantize(from, temp_.file("expected" + of), {3, 32, 0, "minmax", ""});
    quantize(packed, temp_.file("actual" + of), {3, 32, 0, "minmax", ""});
    EXPECT_EQ(folder_bytes(temp_.file("actual" + of)), folder_bytes(temp_.file("expected" + of)));
  }
}

// Stores of before the experts were interleaved.
TEST_F(PackTest, ReadsTheFirstVersion) {
  ModelSizes sizes;
  ModelFolder(Family::kQwen35Moe, Layout::kFused, DType::kBf16, sizes).write(source());
  pack(source(), store());
  std::string manifest = temp_.read("store/store.json");
  const std::string version = "\"version\": 2";
  manifest.replace(manifest.find(version), version.size(), "\"version\": 1");
  temp_.write("store/store.json", manifest);
  temp_.write("store/store.xxh3",
              checksum_text(checksum(std::as_bytes(std::span(manifest)))) + "\n");
  EXPECT_NO_THROW(Checkpoint::open(store()));
}

TEST_F(PackTest, RefusesInterleavedPartsThatDoNotFit) {
  ModelFolder(Family::kQwen35Moe, Layout::kFused, DType::kBf16, {}).write(source());
  pack(source(), store());
  const std::string manifest = temp_.read("store/store.json");
  const auto message = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json edited = nlohmann::json::parse(manifest);
    edited["weights"][1]["parts"][0][key] = value;
    try {
      format::parse_store_manifest(edited.dump(), "store.json");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const std::string place = "store.json: the manifest.weights[1].parts[0]";
  EXPECT_EQ(message("bytes", 64), place + ": its bytes are not those of format and shape");
  EXPECT_EQ(message("shape", {4, 192, 62}),
            place + ": its bytes are not those of format and shape");
  EXPECT_EQ(message("shape", {4, int64_t{1} << 40, int64_t{1} << 40}),
            place + ": its shape does not suit its format");
  EXPECT_EQ(message("shape", {4, 192}),
            place + ": its shape is not that of a matrix for each expert");
  EXPECT_EQ(message("dtype", "I32"),
            place + ".interleaved: with type \"I32\" is no format that can be interleaved");
  EXPECT_EQ(message("interleaved", {{"bits", 7}, {"group", 64}}),
            place + ".interleaved: with type \"BF16\" is no format that can be interleaved");
}

// As on a disk that is full after more and more files: each run fails, the next goes on.
TEST_F(PackTest, GoesOnAfterAFullDisk) {
  ModelSizes sizes;
  sizes.hidden = 256;
  sizes.experts = 8;
  ModelFolder(Family::kQwen3Moe, Layout::kSplit, DType::kF32, sizes).write(source());
  pack(source(), temp_.file("undisturbed"));
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old = {};
  getrlimit(RLIMIT_FSIZE, &old);
  for (const rlim_t limit : {10'000, 1'000'000, 1'800'000}) {
    const rlimit small = {limit, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    EXPECT_EQ(failure(), ErrorCode::kIo) << limit;
    setrlimit(RLIMIT_FSIZE, &old);
    EXPECT_NE(message_.find("the same command goes on"), std::string::npos) << message_;
    EXPECT_FALSE(fs::exists(store()));
  }
  std::signal(SIGXFSZ, SIG_DFL);
  pack(source(), store());
  EXPECT_EQ(folder_bytes(store()), folder_bytes(temp_.file("undisturbed")));
  EXPECT_FALSE(fs::exists(temp_.file(".store.unfinished")));
}

TEST_F(PackTest, GoesOnAfterAStop) {
  ModelFolder(Family::kQwen35Moe, Layout::kSplit, DType::kBf16, {}).write(source());
  EXPECT_EXIT(
      {
        install_stop_signal();
        raise(SIGTERM);
        const bool cancelled = failure() == ErrorCode::kCancelled;
        std::_Exit(cancelled && !HasFailure() ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

// What a run that was ended anywhere may leave: no journal, a torn line, files of any content.
TEST_F(PackTest, TakesUpWhateverIsLeft) {
  ModelFolder(Family::kQwen35Moe, Layout::kMlx, DType::kBf16, {}).write(source());
  pack(source(), temp_.file("undisturbed"));
  const auto expected = folder_bytes(temp_.file("undisturbed"));

  fs::create_directory(temp_.file(".store.unfinished"));
  pack(source(), store());
  EXPECT_EQ(folder_bytes(store()), expected);

  fs::remove_all(store());
  temp_.write(".store.unfinished/journal", "flashmoe pa");
  temp_.write(".store.unfinished/store/dense.bin", "half");
  temp_.write(".store.unfinished/store/store.json", "{");
  temp_.write(".store.unfinished/store/.config.json.1-0.partial", "half");
  pack(source(), store());
  EXPECT_EQ(folder_bytes(store()), expected);

  // The store had its name already.
  fs::create_directory(temp_.file(".store.unfinished"));
  EXPECT_EQ(pack(source(), store()).resumed_bytes, pack(source(), temp_.file("third")).bytes);
  EXPECT_EQ(folder_bytes(store()), expected);
  EXPECT_FALSE(fs::exists(temp_.file(".store.unfinished")));
}

TEST_F(PackTest, RefusesWhatAnotherSourceLeft) {
  ModelFolder(Family::kQwen3Moe, Layout::kSplit, DType::kBf16, {}).write(source());
  temp_.write(".store.unfinished/journal", "flashmoe pack 1 0123456789abcdef\n");
  EXPECT_EQ(failure(), ErrorCode::kUsage);
  EXPECT_NE(message_.find("source has changed"), std::string::npos) << message_;
}

TEST_F(PackTest, RefusesAFolderThatIsNotEmpty) {
  ModelFolder(Family::kQwen3Moe, Layout::kSplit, DType::kBf16, {}).write(source());
  temp_.write("store/mine.txt", "mine");
  EXPECT_EQ(failure(), ErrorCode::kUsage);
  EXPECT_FALSE(fs::exists(temp_.file(".store.unfinished")));
}

TEST_F(PackTest, FindsAFlippedBitAnywhere) {
  ModelFolder(Family::kQwen35Moe, Layout::kMlx, DType::kBf16, {}).write(source());
  pack(source(), store());
  for (const auto& [name, content] : folder_bytes(store())) {
    for (const uint64_t offset : {uint64_t{0}, content.size() / 2, content.size() - 1}) {
      flip(name, offset);
      if (name == format::kStoreManifestName || name == format::kStoreChecksumName) {
        EXPECT_THROW(verify_store(store()), Error) << name << " " << offset;
        EXPECT_THROW(Checkpoint::open(store()), Error) << name << " " << offset;
      } else {
        const VerifyReport report = verify_store(store());
        ASSERT_EQ(report.damaged.size(), 1u) << name << " " << offset;
        EXPECT_EQ(report.damaged[0].file, name);
        EXPECT_LE(report.damaged[0].offset, offset);
        EXPECT_GT(report.damaged[0].offset + report.damaged[0].bytes, offset);
      }
      flip(name, offset);
    }
  }
  EXPECT_EQ(verify_store(store()).damaged.size(), 0u);
  fs::resize_file(store() + "/dense.bin", fs::file_size(store() + "/dense.bin") - 1);
  EXPECT_EQ(verify_store(store()).damaged.size(), 1u);
  EXPECT_THROW(Checkpoint::open(store()), Error);
}

}  // namespace
}  // namespace flashmoe::convert

#include "convert/quantize.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <random>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/stop_signal.h"
#include "base/thread_pool.h"
#include "convert/importance.h"
#include "format/checkpoint.h"
#include "io/file.h"
#include "kernels/make_backend.h"
#include "model/weights.h"
#include "quant/decode.h"
#include "quant/encode.h"
#include "quant/fit.h"
#include "tests/base/temp_folder.h"
#include "tests/convert/model_folder.h"

namespace flashmoe::convert {
namespace {

namespace fs = std::filesystem;
using model::Family;
using nlohmann::json;
using quant::DType;

class QuantizeTest : public testing::Test {
 protected:
  QuantizeTest() { set_log_level(LogLevel::kQuiet); }
  ~QuantizeTest() override { set_log_level(LogLevel::kInfo); }

  std::string source() const { return folder_.file("source"); }
  std::string destination() const { return folder_.file("result"); }

  // The code of the Error that quantising gives; nothing but the source is left.
  ErrorCode failure(const QuantizeOptions& options = {}) const {
    const std::set<std::string> before = names(folder_.path());
    try {
      quantize(source(), destination(), options);
    } catch (const Error& error) {
      EXPECT_EQ(names(folder_.path()), before) << error.what();
      message_ = error.what();
      return error.code();
    }
    ADD_FAILURE() << "no error";
    return {};
  }

  static std::set<std::string> names(const std::string& folder) {
    std::set<std::string> result;
    for (const auto& entry : fs::directory_iterator(folder)) {
      result.insert(entry.path().filename().string());
    }
    return result;
  }

  TempFolder folder_;
  mutable std::string message_;  // of the last failure
};

std::vector<std::byte> read(const format::Checkpoint& checkpoint, const format::Extent& extent) {
  const io::File file(checkpoint.files()[static_cast<size_t>(extent.file)]);
  std::vector<std::byte> bytes(extent.bytes);
  file.read_exact(extent.offset, bytes.size(), bytes.data());
  return bytes;
}

// As mlx-lm rounds.
QuantizeOptions plain(int bits, int group, int threads) {
  return {bits, group, threads, "minmax", ""};
}

bool is_matrix(const ModelFolder::Tensor& tensor) {
  return tensor.shape.size() >= 2 && !tensor.name.ends_with("conv1d.weight");
}

bool is_gate(const std::string& path) {
  return path.ends_with("mlp.gate") || path.ends_with("mlp.shared_expert_gate");
}

// Every tensor of the result against the model's, rounded row by row.
void check_result(const ModelFolder& model, const std::string& folder, int bits, int group) {
  const auto result = format::Checkpoint::open(folder);
  size_t tensors = 0;
  json overrides = json::object();
  for (const auto& [name, tensor] : model.mlx) {
    SCOPED_TRACE(name);
    const std::string path = name.substr(0, name.rfind(".weight"));
    const int64_t cols = tensor.shape.back();
    const int own_bits = is_gate(path) ? 8 : bits, own_group = is_gate(path) ? 64 : group;
    if (!is_matrix(tensor) || cols % group != 0 || cols % own_group != 0) {
      ++tensors;
      const format::TensorInfo* info = result->find(name);
      ASSERT_NE(info, nullptr);
      EXPECT_EQ(info->dtype, tensor.dtype);
      EXPECT_EQ(info->shape, tensor.shape);
      EXPECT_EQ(read(*result, info->extent), to_bytes(tensor.dtype, tensor.values));
      continue;
    }
    tensors += 3;
    if (own_bits != bits || own_group != group) {
      overrides[path] = {{"bits", own_bits}, {"group_size", own_group}};
    }
    const auto matrix = result->find_matrix(path);
    ASSERT_TRUE(matrix);
    const quant::Format format = {quant::Encoding::kAffine, tensor.dtype, own_bits, own_group};
    EXPECT_EQ(matrix->format, format);
    EXPECT_EQ(matrix->cols, cols);
    EXPECT_EQ(matrix->rows, tensor.shape[tensor.shape.size() - 2]);
    EXPECT_EQ(matrix->count, tensor.shape.size() == 3 ? tensor.shape[0] : 1);
    const int64_t rows = matrix->count * matrix->rows;
    std::vector<std::byte> codes(static_cast<size_t>(rows) * format.code_bytes(cols));
    std::vector<std::byte> scales(static_cast<size_t>(rows) * format.scale_bytes(cols));
    std::vector<std::byte> biases(scales.size());
    for (int64_t r = 0; r < rows; ++r) {
      const size_t at = static_cast<size_t>(r) * format.scale_bytes(cols);
      quant::encode_row(format, cols, tensor.values.data() + r * cols,
                        codes.data() + static_cast<size_t>(r) * format.code_bytes(cols),
                        scales.data() + at, biases.data() + at);
    }
    EXPECT_TRUE(read(*result, matrix->codes) == codes);
    EXPECT_TRUE(read(*result, matrix->scales) == scales);
    EXPECT_TRUE(read(*result, matrix->biases) == biases);
  }
  EXPECT_EQ(result->tensors().size(), tensors) << "there are others";

  json quantization = {{"bits", bits}, {"group_size", group}, {"mode", "affine"}};
  quantization.update(overrides);
  EXPECT_EQ(result->config().at("quantization"), quantization);
  EXPECT_EQ(result->config().at("quantization_config"), quantization);

  // The engine finds all that it needs, and means the same model.
  const model::ModelConfig config = model::parse_model_config(result->config(), folder);
  const model::ModelConfig original = model::parse_model_config(model.config, folder);
  EXPECT_EQ(config.family, original.family);
  EXPECT_EQ(config.tied_embeddings, original.tied_embeddings);
  EXPECT_EQ(config.layer_kinds, original.layer_kinds);
  EXPECT_EQ(config.eos_ids, original.eos_ids);
  ThreadPool pool(1);
  const auto backend = kernels::make_backend("ref", pool);
  EXPECT_TRUE(model::WeightsPlan(*result, config, *backend).unused().empty());
}

struct Case {
  Family family;
  Layout layout;
  DType dtype;
  int bits;
  int group;
  bool tied;
};

class QuantizeCases : public QuantizeTest, public testing::WithParamInterface<Case> {};

TEST_P(QuantizeCases, WritesWhatMlxHolds) {
  const Case& c = GetParam();
  ModelSizes sizes;
  sizes.tied = c.tied;
  const ModelFolder model(c.family, c.layout, c.dtype, sizes);
  model.write(source());
  quantize(source(), destination(), plain(c.bits, c.group, 2));
  check_result(model, destination(), c.bits, c.group);
}

INSTANTIATE_TEST_SUITE_P(
    All, QuantizeCases,
    testing::Values(Case{Family::kQwen3Moe, Layout::kSplit, DType::kBf16, 4, 64, false},
                    Case{Family::kQwen3Moe, Layout::kFused, DType::kF32, 2, 32, true},
                    Case{Family::kQwen3Moe, Layout::kMlx, DType::kF16, 8, 64, false},
                    Case{Family::kQwen3Next, Layout::kSplit, DType::kBf16, 3, 64, false},
                    Case{Family::kQwen3Next, Layout::kFused, DType::kF16, 5, 32, true},
                    Case{Family::kQwen3Next, Layout::kMlx, DType::kBf16, 6, 32, false},
                    Case{Family::kQwen35Moe, Layout::kSplit, DType::kBf16, 4, 64, true},
                    Case{Family::kQwen35Moe, Layout::kFused, DType::kF32, 8, 32, false},
                    Case{Family::kQwen35Moe, Layout::kWrapped, DType::kBf16, 4, 32, true},
                    Case{Family::kQwen35Moe, Layout::kWrapped, DType::kF16, 4, 128, false},
                    Case{Family::kQwen35Moe, Layout::kMlx, DType::kBf16, 4, 64, false}));

// Stacks of several batches, whose pieces cut experts anywhere.
TEST_F(QuantizeTest, ThreadsDoNotShow) {
  const ModelSizes sizes = {80, 256, 5, 2080, true};
  const ModelFolder model(Family::kQwen35Moe, Layout::kWrapped, DType::kF32, sizes);
  model.write(source());
  quantize(source(), folder_.file("one"), plain(4, 32, 1));
  check_result(model, folder_.file("one"), 4, 32);
  quantize(source(), folder_.file("two"), plain(4, 32, 2));
  for (const std::string& name : names(folder_.file("one"))) {
    EXPECT_TRUE(folder_.read("one/" + name) == folder_.read("two/" + name)) << name;
  }
}

// Against the fitter itself, with an importance of its own for each expert, on any threads.
TEST_F(QuantizeTest, FitsToTheImportanceOfEachExpert) {
  const ModelFolder model(Family::kQwen35Moe, Layout::kSplit, DType::kBf16, {});
  model.write(source());
  std::mt19937 random(5);
  const auto means = [&](int64_t count, int64_t cols, bool moments) {
    const auto n = static_cast<size_t>(cols);
    InputMeans m{count, cols, std::vector<float>(static_cast<size_t>(count), 10.0f), {}, {}};
    for (size_t i = 0; i < static_cast<size_t>(count) * n; ++i) {
      m.squares.push_back(static_cast<float>(random() % 1000) / 100 + 0.1f);
    }
    if (!moments) return m;
    for (size_t e = 0; e < static_cast<size_t>(count); ++e) {
      for (size_t i = 0; i < n * n; ++i) {
        m.moments.push_back(i % (n + 1) == 0 ? m.squares[e * n + i / (n + 1)] : 0.01f);
      }
    }
    return m;
  };
  std::map<std::string, InputMeans> inputs = {{"head", means(1, 64, true)}};
  const model::ModelConfig config = model::parse_model_config(model.config, "");
  for (int i = 0; i < config.layers; ++i) {
    const std::string layer = "layers." + std::to_string(i) + ".";
    const bool attention =
        config.layer_kinds[static_cast<size_t>(i)] == model::LayerKind::kAttention;
    inputs[layer + "mixer"] = means(1, 64, true);
    inputs[layer + "mixer_out"] =
        means(1,
              attention ? config.attention.heads * config.attention.head_dim
                        : config.delta.value_heads * config.delta.value_dim,
              true);
    inputs[layer + "routed"] = means(1, 64, true);
    inputs[layer + "down"] = means(1, config.moe.shared_intermediate, true);
    inputs[layer + "experts"] = means(config.moe.experts, 64, false);
    inputs[layer + "experts_down"] = means(config.moe.experts, config.moe.intermediate, true);
  }
  const Importance importance(inputs);
  importance.write(folder_.file("imatrix"));
  for (const int threads : {1, 3}) {
    const std::string out = folder_.file("out" + std::to_string(threads));
    quantize(source(), out, {2, 32, threads, "even", folder_.file("imatrix")});
  }
  EXPECT_TRUE(folder_.read("out1/model.safetensors") == folder_.read("out3/model.safetensors"));

  const auto result = format::Checkpoint::open(folder_.file("out1"));
  for (const std::string name : {"up_proj", "down_proj"}) {
    const std::string path = "language_model.model.layers.1.mlp.switch_mlp." + name;
    const ModelFolder::Tensor& tensor = model.mlx.at(path + ".weight");
    const int64_t cols = tensor.shape[2], rows = tensor.shape[1];
    const quant::Format format = {quant::Encoding::kAffine, DType::kBf16, 2, 32};
    std::vector<std::byte> codes(format.code_bytes(cols)), all, scales(format.scale_bytes(cols)),
        biases(scales);
    for (int64_t e = 0; e < config.moe.experts; ++e) {
      const InputStatistics statistics = importance.find(path, e, cols, false);
      EXPECT_FALSE(statistics.squares.empty() || statistics.moments.empty());
      const quant::RowFitter fitter(format, cols, statistics.squares, statistics.moments);
      for (int64_t r = 0; r < rows; ++r) {
        fitter.encode_row(tensor.values.data() + (e * rows + r) * cols, codes.data(), scales.data(),
                          biases.data());
        all.insert(all.end(), codes.begin(), codes.end());
      }
    }
    const auto matrix = result->find_matrix(path);
    ASSERT_TRUE(matrix);
    EXPECT_TRUE(read(*result, matrix->codes) == all) << name;
  }
}

TEST_F(QuantizeTest, RefusesTheImportanceOfAnotherModel) {
  ModelFolder(Family::kQwen3Moe, Layout::kSplit, DType::kBf16, {}).write(source());
  const std::string path = folder_.file("imatrix");
  Importance({{"head", {1, 8, {1}, std::vector<float>(8, 1.0f), {}}}}).write(path);
  EXPECT_EQ(failure({2, 32, 1, "even", path}), ErrorCode::kUsage);
  EXPECT_NE(message_.find("of another model"), std::string::npos) << message_;
  folder_.write("imatrix", "no safetensors");
  EXPECT_EQ(failure({2, 32, 1, "even", path}), ErrorCode::kCorrupt);
}

TEST_F(QuantizeTest, KeepsWhatBelongsToTheModel) {
  ModelFolder(Family::kQwen3Moe, Layout::kSplit, DType::kBf16, {}).write(source());
  const std::set<std::string> kept = {"tokenizer.json", "chat_template.jinja",
                                      "merges.txt",     "generation_config.json",
                                      "LICENSE",        "tokenizer.bin"};
  for (const std::string& name : kept) folder_.write("source/" + name, "the text of " + name);
  folder_.write("source/README.md", "a model card");
  fs::create_directory(destination());  // an empty folder may be there
  quantize(source(), destination() + "/", {});
  for (const std::string& name : kept) {
    EXPECT_EQ(folder_.read("result/" + name), "the text of " + name);
  }
  std::set<std::string> all = kept;
  all.insert({"config.json", "model.safetensors", "model.safetensors.index.json"});
  EXPECT_EQ(names(destination()), all);
}

// All of these are in the configuration; more may be.
void expect_settings(const json& config, const json& settings) {
  for (const auto& [key, value] : settings.items()) {
    if (value.is_object()) {
      expect_settings(config.value(key, json::object()), value);
    } else {
      EXPECT_EQ(config.value(key, json("nothing")), value) << key;
    }
  }
}

TEST_F(QuantizeTest, ConfigKeepsTheModelsSettings) {
  const ModelFolder model(Family::kQwen35Moe, Layout::kWrapped, DType::kBf16, {});
  model.write(source());
  quantize(source(), destination(), {});
  json expected = model.config;
  expected.erase("vision_config");
  expected["text_config"]["tie_word_embeddings"] = false;
  json config = json::parse(folder_.read("result/config.json"));
  expect_settings(config, expected);
  EXPECT_FALSE(config.contains("vision_config"));
  EXPECT_EQ(config["text_config"]["full_attention_interval"], 2);  // mlx-lm has no default
}

// mlx-lm has no class for the text model alone.
TEST_F(QuantizeTest, ConfigOfATextModelIsWrapped) {
  const ModelFolder model(Family::kQwen35Moe, Layout::kSplit, DType::kBf16, {});
  model.write(source());
  quantize(source(), destination(), {});
  const json config = json::parse(folder_.read("result/config.json"));
  EXPECT_EQ(config.at("model_type"), "qwen3_5_moe");
  EXPECT_EQ(config.at("eos_token_id"), 3);
  expect_settings(config.at("text_config"), model.config);
}

TEST_F(QuantizeTest, RefusesWhatIsThere) {
  ModelFolder(Family::kQwen3Moe, Layout::kSplit, DType::kBf16, {}).write(source());
  folder_.write("result/precious", "data");
  EXPECT_EQ(failure(), ErrorCode::kUsage);
  EXPECT_EQ(folder_.read("result/precious"), "data");
  fs::remove_all(destination());
  folder_.write("result", "a file");
  EXPECT_EQ(failure(), ErrorCode::kUsage);
  EXPECT_EQ(folder_.read("result"), "a file");
  EXPECT_THROW(quantize(source(), folder_.file("no/such/folder"), {}), Error);
  EXPECT_THROW(quantize(source(), source(), {}), Error);
}

TEST_F(QuantizeTest, RefusesBadOptions) {
  ModelFolder(Family::kQwen3Moe, Layout::kSplit, DType::kBf16, {}).write(source());
  EXPECT_EQ(failure({7, 64, 1}), ErrorCode::kUsage);
  EXPECT_EQ(failure({4, 16, 1}), ErrorCode::kUsage);
  EXPECT_EQ(failure({4, 64, -1}), ErrorCode::kUsage);
}

TEST_F(QuantizeTest, QuantisedSourcesAreDecodedWithAWarning) {
  const ModelFolder model(Family::kQwen3Next, Layout::kSplit, DType::kBf16, {});
  model.write(folder_.file("original"));
  quantize(folder_.file("original"), source(), plain(8, 32, 1));
  set_log_level(LogLevel::kWarn);
  testing::internal::CaptureStderr();
  quantize(source(), destination(), plain(4, 64, 2));
  const std::string warning = testing::internal::GetCapturedStderr();
  EXPECT_NE(warning.find("quantised already"), std::string::npos) << warning;

  const auto before = format::Checkpoint::open(source()),
             after = format::Checkpoint::open(destination());
  EXPECT_EQ(before->tensors().size(), after->tensors().size());
  for (const std::string path :
       {"model.embed_tokens", "model.layers.1.mlp.switch_mlp.up_proj", "model.layers.0.mlp.gate"}) {
    const auto from = before->find_matrix(path), to = after->find_matrix(path);
    ASSERT_TRUE(from && to);
    EXPECT_EQ(to->format.bits, path.ends_with(".gate") ? 8 : 4);
    const auto codes = read(*before, from->codes), scales = read(*before, from->scales),
               biases = read(*before, from->biases), result = read(*after, to->codes);
    std::vector<float> row(static_cast<size_t>(from->cols));
    std::vector<std::byte> expected(to->format.code_bytes(from->cols)),
        parts(2 * to->format.scale_bytes(from->cols));
    for (size_t r = 0; r < static_cast<size_t>(from->count * from->rows); ++r) {
      const size_t at = r * from->format.scale_bytes(from->cols);
      quant::decode_row(from->format, from->cols,
                        codes.data() + r * from->format.code_bytes(from->cols), scales.data() + at,
                        biases.data() + at, row.data());
      quant::encode_row(to->format, from->cols, row.data(), expected.data(), parts.data(),
                        parts.data() + parts.size() / 2);
      EXPECT_EQ(std::memcmp(expected.data(), result.data() + r * expected.size(), expected.size()),
                0);
    }
  }
  const model::ModelConfig config = model::parse_model_config(after->config(), "");
  ThreadPool pool(1);
  EXPECT_TRUE(
      model::WeightsPlan(*after, config, *kernels::make_backend("ref", pool)).unused().empty());
}

TEST_F(QuantizeTest, RefusesIncompleteAndUnknownSources) {
  ModelFolder model(Family::kQwen3Next, Layout::kSplit, DType::kBf16, {});
  const ModelFolder::Tensor expert = model.source.at("model.layers.1.mlp.experts.2.up_proj.weight");
  model.source.erase(expert.name);
  model.write(source());
  EXPECT_EQ(failure(), ErrorCode::kNotFound);
  EXPECT_NE(message_.find(expert.name), std::string::npos) << message_;
  model.source[expert.name] = expert;
  model.source["model.layers.1.mlp.experts.4.up_proj.weight"] = expert;
  fs::remove_all(source());
  model.write(source());
  EXPECT_EQ(failure(), ErrorCode::kUnsupported);
}

TEST_F(QuantizeTest, RefusesWeightsThatAreNotFinite) {
  ModelFolder model(Family::kQwen3Moe, Layout::kSplit, DType::kBf16, {});
  const std::string name = "model.layers.0.self_attn.k_proj.weight";
  model.source.at(name).values[777] = std::numeric_limits<float>::quiet_NaN();
  model.write(source());
  EXPECT_EQ(failure(), ErrorCode::kCorrupt);
  EXPECT_NE(message_.find(name), std::string::npos) << message_;
}

TEST_F(QuantizeTest, LeavesNothingWhenTheDiskRefuses) {
  ModelFolder(Family::kQwen35Moe, Layout::kSplit, DType::kBf16, {}).write(source());
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old = {};
  getrlimit(RLIMIT_FSIZE, &old);
  for (const rlim_t limit : {rlim_t{1000}, rlim_t{100'000}}) {
    const rlimit small = {limit, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    EXPECT_EQ(failure(), ErrorCode::kIo) << limit;
    setrlimit(RLIMIT_FSIZE, &old);
  }
  std::signal(SIGXFSZ, SIG_DFL);
}

TEST_F(QuantizeTest, LeavesNothingWhenStopped) {
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

}  // namespace
}  // namespace flashmoe::convert

#include "convert/synth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/half.h"
#include "base/log.h"
#include "base/stop_signal.h"
#include "base/thread_pool.h"
#include "convert/synth_shapes.h"
#include "convert/synth_tensors.h"
#include "convert/synth_values.h"
#include "flashmoe/engine.h"
#include "format/checkpoint.h"
#include "io/file.h"
#include "kernels/make_backend.h"
#include "model/weights.h"
#include "quant/decode.h"
#include "tests/base/temp_folder.h"

namespace flashmoe::convert {
namespace {

namespace fs = std::filesystem;
using model::Family;
using nlohmann::json;
using quant::DType;

class SynthTest : public testing::Test {
 protected:
  SynthTest() { set_log_level(LogLevel::kQuiet); }
  ~SynthTest() override { set_log_level(LogLevel::kInfo); }

  // A published model's config with small sizes, as a file.
  std::string small_config(const std::string& name, int layers) {
    json config = *published_config(name);
    json& text = config.contains("text_config") ? config["text_config"] : config;
    text.erase("layer_types");
    text.update({{"num_hidden_layers", layers},
                 {"hidden_size", 128},
                 {"vocab_size", 320},
                 {"head_dim", 64},
                 {"num_attention_heads", 4},
                 {"linear_num_key_heads", 2},
                 {"linear_num_value_heads", 4},
                 {"linear_key_head_dim", 32},
                 {"linear_value_head_dim", 32},
                 {"num_experts", 16},
                 {"num_experts_per_tok", 4},
                 {"moe_intermediate_size", 64},
                 {"shared_expert_intermediate_size", 64}});
    return folder_.write(name + ".json", config.dump());
  }

  std::string out(const std::string& name = "out") const { return folder_.file(name); }

  ErrorCode failure(const std::string& model, const SynthOptions& options) {
    const std::set<std::string> before = names();
    try {
      synth(model, out(), options);
    } catch (const Error& error) {
      EXPECT_EQ(names(), before) << error.what();
      message_ = error.what();
      return error.code();
    }
    ADD_FAILURE() << "no error";
    return {};
  }

  std::set<std::string> names() const {
    std::set<std::string> result;
    for (const auto& entry : fs::directory_iterator(folder_.path())) {
      result.insert(entry.path().filename().string());
    }
    return result;
  }

  TempFolder folder_;
  std::string message_;  // of the last failure
};

std::vector<std::byte> read(const format::Checkpoint& checkpoint, const format::Extent& extent) {
  const io::File file(checkpoint.files()[static_cast<size_t>(extent.file)]);
  std::vector<std::byte> bytes(extent.bytes);
  file.read_exact(extent.offset, bytes.size(), bytes.data());
  return bytes;
}

std::vector<float> values(const format::Checkpoint& checkpoint, const std::string& name) {
  const auto matrix = checkpoint.find_matrix(name);
  EXPECT_TRUE(matrix) << name;
  if (!matrix) return {};
  const int64_t rows = matrix->count * matrix->rows, cols = matrix->cols;
  const std::vector<std::byte> codes = read(checkpoint, matrix->codes);
  std::vector<std::byte> scales, biases;
  if (matrix->scales.bytes > 0) {
    scales = read(checkpoint, matrix->scales);
    biases = read(checkpoint, matrix->biases);
  }
  std::vector<float> result(static_cast<size_t>(rows * cols));
  for (int64_t r = 0; r < rows; ++r) {
    const auto row = static_cast<size_t>(r);
    quant::decode_row(matrix->format, cols, codes.data() + row * matrix->format.code_bytes(cols),
                      scales.data() + row * matrix->format.scale_bytes(cols),
                      biases.data() + row * matrix->format.scale_bytes(cols),
                      result.data() + r * cols);
  }
  return result;
}

struct Moments {
  double mean, deviation;
};
Moments moments(std::span<const float> values) {
  double sum = 0, squares = 0;
  for (const float v : values) {
    sum += v;
    squares += double{v} * v;
  }
  const double mean = sum / static_cast<double>(values.size());
  return {mean, std::sqrt(squares / static_cast<double>(values.size()) - mean * mean)};
}

using Case = std::tuple<const char*, int>;  // name, bits
class SynthCases : public SynthTest, public testing::WithParamInterface<Case> {};

// Every tensor the engine wants is there, nothing else is, and each has its format and spread.
TEST_P(SynthCases, IsAModelOfItsShape) {
  const auto [name, bits] = GetParam();
  const std::string config_path = small_config(name, 4);
  synth(config_path, out(), {bits, 0, 5});
  const auto checkpoint = format::Checkpoint::open(out());
  const model::ModelConfig config = model::parse_model_config(checkpoint->config(), out());
  EXPECT_EQ(config.layers, 4);
  ThreadPool pool(1);
  const auto backend = kernels::make_backend("ref", pool);
  const model::WeightsPlan weights(*checkpoint, config, *backend);
  EXPECT_TRUE(weights.unused().empty());

  const bool qwen35 = config.family == Family::kQwen35Moe;
  std::string base = "model.", experts = ".mlp.switch_mlp.down_proj";
  if (bits < 16 && qwen35) base = "language_model.model.";
  if (bits == 16) {
    if (qwen35) base = "model.language_model.";
    experts = qwen35 ? ".mlp.experts.down_proj" : ".mlp.experts.15.down_proj";
  }
  const std::string qkv = qwen35 ? ".linear_attn.in_proj_qkv" : ".linear_attn.in_proj_qkvz";
  const float gain = std::sqrt(2.0f / 4);
  const struct {
    std::string name;
    int bits;
    double deviation;
  } kMatrices[] = {
      {base + "embed_tokens", bits, 1},
      {base + "layers.0" + qkv, bits, 1 / std::sqrt(128.0)},
      {base + "layers.3.self_attn.q_proj", bits, 1 / std::sqrt(128.0)},
      {base + "layers.3.self_attn.o_proj", bits, gain / std::sqrt(256.0)},
      {base + "layers.2.mlp.gate", std::max(bits, 8), 1 / std::sqrt(128.0)},
      {base + "layers.1" + experts, bits, gain / std::sqrt(64.0)},
      {bits < 16 && qwen35 ? "language_model.lm_head" : "lm_head", bits, 3 / std::sqrt(128.0)}};
  for (const auto& m : kMatrices) {
    SCOPED_TRACE(m.name);
    const auto matrix = checkpoint->find_matrix(m.name);
    ASSERT_TRUE(matrix);
    const quant::Format plain = {quant::Encoding::kPlain, DType::kBf16, 0, 0};
    const quant::Format affine = {quant::Encoding::kAffine, DType::kBf16, m.bits, 64};
    EXPECT_EQ(matrix->format, bits == 16 ? plain : affine);
    const std::vector<float> all = values(*checkpoint, m.name);
    const Moments actual = moments(all);
    // Five standard errors, and what bf16 and the groups' different scales give.
    const double error = 5 / std::sqrt(static_cast<double>(all.size()));
    EXPECT_NEAR(actual.mean, 0, m.deviation * (error + 0.01));
    EXPECT_NEAR(actual.deviation, m.deviation, m.deviation * (error + 0.03));
  }
  // 1 + w is 1 either way.
  const format::TensorInfo* norm = checkpoint->find(base + "layers.0.input_layernorm.weight");
  ASSERT_NE(norm, nullptr);
  std::vector<float> w(128);
  quant::decode_row({quant::Encoding::kPlain, norm->dtype, 0, 0}, 128,
                    read(*checkpoint, norm->extent).data(), nullptr, nullptr, w.data());
  EXPECT_NEAR(moments(w).mean, bits == 16 ? 0 : 1, 0.03);
  EXPECT_NEAR(moments(w).deviation, 0.05, 0.02);
}

INSTANTIATE_TEST_SUITE_P(All, SynthCases,
                         testing::Combine(testing::Values("qwen3.5-35b-a3b", "qwen3-next-80b-a3b"),
                                          testing::Values(16, 8, 6, 5, 4, 3, 2)));

// Deep models neither fade nor overflow, and what they say depends on all that came before.
TEST_F(SynthTest, SixtyLayersStayLively) {
  for (const auto& [name, bits] :
       {Case{"qwen3.5-397b-a17b", 16}, Case{"qwen3.5-397b-a17b", 4}, Case{"qwen3.5-35b-a3b", 2},
        Case{"qwen3-next-80b-a3b", 16}, Case{"qwen3-next-80b-a3b", 3}}) {
    SCOPED_TRACE(testing::Message() << name << " " << bits);
    const std::string folder = out(std::string(name) + "-" + std::to_string(bits));
    synth(small_config(name, 60), folder, {bits, 0, 1});
    std::map<std::string, std::vector<float>> first, second;
    for (const std::string backend : {"ref", "cpu"}) {
      SCOPED_TRACE(backend);
      EngineOptions options;
      options.model = folder;
      options.backend = backend;
      options.context = 64;
      options.threads = 1;
      const auto engine = Engine::open(options);
      const auto logits_after = [&](std::vector<int32_t> tokens) {
        Session session(*engine);
        session.sync(tokens);
        return std::vector<float>(session.logits().begin(), session.logits().end());
      };
      first[backend] = logits_after({7, 300, 12, 99, 250, 31, 4, 77});
      second[backend] = logits_after({8, 300, 12, 99, 250, 31, 4, 77});
      for (const auto* logits : {&first[backend], &second[backend]}) {
        EXPECT_TRUE(
            std::all_of(logits->begin(), logits->end(), [](float v) { return std::isfinite(v); }));
        const Moments m = moments(*logits);
        EXPECT_GT(m.deviation, 2);
        EXPECT_LT(m.deviation, 4);
      }
      std::vector<float> difference = first[backend];
      for (size_t i = 0; i < difference.size(); ++i) difference[i] -= second[backend][i];
      EXPECT_GT(moments(difference).deviation, 0.1);
    }
  }
}

TEST_F(SynthTest, SeedDecidesAll) {
  const std::string config = small_config("qwen3.5-35b-a3b", 2);
  for (const int bits : {16, 3}) {
    const std::string n = std::to_string(bits);
    synth(config, out("a" + n), {bits, 0, 1});
    synth(config, out("b" + n), {bits, 0, 1});
    synth(config, out("c" + n), {bits, 0, 2});
    for (const char* file : {"/model.safetensors", "/config.json"}) {
      EXPECT_TRUE(folder_.read("a" + n + file) == folder_.read("b" + n + file)) << file;
    }
    EXPECT_FALSE(folder_.read("a" + n + "/model.safetensors") ==
                 folder_.read("c" + n + "/model.safetensors"));
  }
}

TEST_F(SynthTest, FewerLayersAreTheSameLayers) {
  const std::string config = small_config("qwen3.5-35b-a3b", 6);
  synth(config, out("whole"), {4, 0, 1});
  synth(config, out("part"), {4, 5, 1});
  const auto whole = format::Checkpoint::open(out("whole"));
  const auto part = format::Checkpoint::open(out("part"));
  EXPECT_EQ(model::parse_model_config(part->config(), "").layers, 5);
  EXPECT_LT(part->tensors().size(), whole->tensors().size());
  for (const format::TensorInfo& tensor : part->tensors()) {
    const format::TensorInfo* other = whole->find(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    EXPECT_TRUE(read(*part, tensor.extent) == read(*whole, other->extent)) << tensor.name;
  }
}

TEST_F(SynthTest, CutsWhatNamesLayers) {
  json config = first_layers(*published_config("qwen3.5-35b-a3b"), 5);
  EXPECT_EQ(config["text_config"]["num_hidden_layers"], 5);
  EXPECT_EQ(config["text_config"]["layer_types"].size(), 5u);
  config = first_layers(
      {{"num_hidden_layers", 9}, {"mlp_only_layers", {0, 7, 2}}, {"text_config", nullptr}}, 3);
  EXPECT_EQ(config["mlp_only_layers"], json({0, 2}));
}

// Weights as counted from the published checkpoints' names: total and per token.
TEST_F(SynthTest, PublishedShapesAreTrue) {
  const struct {
    const char* name;
    double billions;
    double active_billions;
  } kModels[] = {{"qwen3.5-35b-a3b", 34.7, 3.5},
                 {"qwen3-next-80b-a3b", 79.7, 3.9},
                 {"qwen3.5-122b-a10b", 122, 10.4},
                 {"qwen3.5-397b-a17b", 396, 17.5}};
  for (const auto& m : kModels) {
    SCOPED_TRACE(m.name);
    const json json_config = *published_config(m.name);
    const auto config = model::parse_model_config(json_config, m.name);
    EXPECT_EQ(config.max_context, 262144);
    EXPECT_EQ(config.attention.rotary_dim, 64);
    EXPECT_EQ(config.attention.rope_theta, 1e7);
    EXPECT_FALSE(config.tied_embeddings);
    EXPECT_EQ(config.attention_layers() * 4, config.layers);
    double total = 0, experts = 0;
    for (const SynthTensor& t :
         published_tensors(config, has_text_config(json_config), config.layers)) {
      const double weights =
          static_cast<double>(t.bytes()) / static_cast<double>(quant::dtype_bytes(t.dtype));
      total += weights;
      if (t.name.find(".experts.") != std::string::npos) experts += weights;
    }
    const double active =
        total - experts * (1 - double(config.moe.experts_per_token) / config.moe.experts);
    EXPECT_NEAR(total / 1e9, m.billions, m.billions * 0.01);
    EXPECT_NEAR(active / 1e9, m.active_billions, m.active_billions * 0.1);
  }
}

// Qwen3's layout too, with a dense layer, tied embeddings and another source type.
TEST_F(SynthTest, TakesAnyConfig) {
  const json config = {{"model_type", "qwen3_moe"},
                       {"hidden_size", 128},
                       {"vocab_size", 256},
                       {"num_hidden_layers", 3},
                       {"num_attention_heads", 4},
                       {"num_key_value_heads", 2},
                       {"head_dim", 32},
                       {"intermediate_size", 192},
                       {"moe_intermediate_size", 48},  // no multiple of the group
                       {"num_experts", 6},
                       {"num_experts_per_tok", 2},
                       {"mlp_only_layers", {1u}},
                       {"tie_word_embeddings", true},
                       {"torch_dtype", "float16"},
                       {"quantization", {{"bits", 4}, {"group_size", 32}}}};
  const std::string path = folder_.write("qwen3.json", config.dump());
  for (const int bits : {16, 4}) {
    const std::string folder = out("qwen3-" + std::to_string(bits));
    synth(path, folder, {bits, 0, 0});
    const auto checkpoint = format::Checkpoint::open(folder);
    EXPECT_EQ(checkpoint->config().at("torch_dtype"), "bfloat16");
    EXPECT_EQ(checkpoint->config().contains("quantization"), bits == 4);
    EngineOptions options;
    options.model = folder;
    options.threads = 1;
    const auto engine = Engine::open(options);
    Session session(*engine);
    session.sync(std::vector<int32_t>{1, 2, 3});
    const Moments m = moments(session.logits());
    EXPECT_GT(m.deviation, 1.5);
    EXPECT_LT(m.deviation, 6);
  }
}

TEST_F(SynthTest, StreamsDependOnPlaceAlone) {
  const uint64_t key = stream_key(3, "a");
  EXPECT_NE(key, stream_key(4, "a"));
  EXPECT_NE(key, stream_key(3, "b"));
  for (const DType type : {DType::kF32, DType::kF16, DType::kBf16}) {
    const auto table = value_table({Distribution::Kind::kNormal, 0, 1}, type);
    const size_t bytes = quant::dtype_bytes(type);
    std::vector<std::byte> whole(1003 * bytes), pieces(1003 * bytes);
    fill_values(key, 0, table, type, whole);
    for (size_t at = 0; at < 1003; at += 100) {
      const size_t count = std::min<size_t>(100, 1003 - at);
      fill_values(key, at, table, type, std::span(pieces).subspan(at * bytes, count * bytes));
    }
    EXPECT_TRUE(whole == pieces);
  }
}

// Equal seeds give equal files in later versions too.
TEST_F(SynthTest, NumbersStayTheSame) {
  std::vector<std::byte> bits(8);
  fill_bits(stream_key(1, "model.norm.weight"), 4, bits);
  uint64_t word = 0;
  std::memcpy(&word, bits.data(), sizeof(word));
  EXPECT_EQ(word, 6158360009079810661u);
}

TEST_F(SynthTest, RefusesWhatItCannotDo) {
  const std::string config = small_config("qwen3.5-35b-a3b", 2);
  EXPECT_EQ(failure("qwen3.5-36b", {}), ErrorCode::kNotFound);
  EXPECT_NE(message_.find("qwen3.5-35b-a3b"), std::string::npos) << message_;
  EXPECT_EQ(failure(config, {7, 0, 0}), ErrorCode::kUsage);
  EXPECT_EQ(failure(config, {4, 3, 0}), ErrorCode::kUsage);
  EXPECT_NE(message_.find("only 2 layers"), std::string::npos) << message_;
  folder_.write("out/precious", "data");
  EXPECT_EQ(failure(config, {}), ErrorCode::kUsage);
  EXPECT_EQ(folder_.read("out/precious"), "data");
}

TEST_F(SynthTest, RefusesWhatTheDiskCannotHold) {
  const json config = {{"model_type", "qwen3_next"}, {"hidden_size", 1 << 20},
                       {"vocab_size", 1 << 24},      {"num_hidden_layers", 1},
                       {"num_experts", 1},           {"num_experts_per_tok", 1}};
  const std::string path = folder_.write("huge.json", config.dump());
  EXPECT_EQ(failure(path, {}), ErrorCode::kIo);
  EXPECT_NE(message_.find("disk space"), std::string::npos) << message_;
}

TEST_F(SynthTest, LeavesNothingWhenStopped) {
  const std::string config = small_config("qwen3.5-35b-a3b", 2);
  EXPECT_EXIT(
      {
        install_stop_signal();
        raise(SIGTERM);
        const bool cancelled = failure(config, {}) == ErrorCode::kCancelled;
        std::_Exit(cancelled && !HasFailure() ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace flashmoe::convert

// The promise that the memory budget given is the memory used: the program as a child, on a
// synthetic model ten times larger than its budget.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/format_units.h"
#include "base/half.h"
#include "format/safetensors_writer.h"
#include "tests/base/temp_folder.h"
#include "tests/support/child_process.h"
#include "tests/support/sanitized.h"

namespace flashmoe::engine {
namespace {

namespace fs = std::filesystem;
using format::SafetensorsWriter;
using quant::DType;

// A qwen3_5_moe as MLX publishes it. Experts are of two sizes: the down projections of some layers
// take 8 bits, so that the cache has two classes of slots in one budget.
class SyntheticModel {
 public:
  static constexpr int kLayers = 24, kExperts = 128, kHidden = 512, kIntermediate = 256,
                       kVocabulary = 4096, kKeyHeads = 2, kValueHeads = 4, kHeadDim = 64,
                       kQueryHeads = 8;

  void write(const std::string& folder) {
    config_ = {{"model_type", "qwen3_5_moe_text"},
               {"hidden_size", kHidden},
               {"num_hidden_layers", kLayers},
               {"vocab_size", kVocabulary},
               {"max_position_embeddings", 8192},
               {"eos_token_id", 0},
               {"rms_norm_eps", 1e-6},
               {"tie_word_embeddings", false},
               {"num_attention_heads", kQueryHeads},
               {"num_key_value_heads", 2},
               {"head_dim", kHeadDim},
               {"linear_num_key_heads", kKeyHeads},
               {"linear_num_value_heads", kValueHeads},
               {"linear_key_head_dim", kHeadDim},
               {"linear_value_head_dim", kHeadDim},
               {"linear_conv_kernel_dim", 4},
               {"num_experts", kExperts},
               {"num_experts_per_tok", 8},
               {"moe_intermediate_size", kIntermediate},
               {"shared_expert_intermediate_size", kIntermediate},
               {"full_attention_interval", 4},
               {"rope_parameters",
                {{"rope_type", "default"}, {"rope_theta", 1e6}, {"partial_rotary_factor", 0.25}}},
               {"quantization", {{"group_size", 64}, {"bits", 4}, {"mode", "affine"}}}};
    add_matrix("model.embed_tokens", {kVocabulary, kHidden}, 4);
    for (int layer = 0; layer < kLayers; ++layer) add_layer(layer);
    add_vector("model.norm.weight", kHidden);
    add_matrix("lm_head", {kVocabulary, kHidden}, 4);
    write_tensors(folder);
    std::ofstream(folder + "/config.json") << config_.dump();
  }

 private:
  void add_layer(int layer) {
    const std::string base = "model.layers." + std::to_string(layer) + ".";
    constexpr int kKeys = kKeyHeads * kHeadDim, kValues = kValueHeads * kHeadDim;
    add_vector(base + "input_layernorm.weight", kHidden);
    add_vector(base + "post_attention_layernorm.weight", kHidden);
    if (layer % 4 == 3) {
      const std::string attention = base + "self_attn.";
      add_matrix(attention + "q_proj", {2 * kQueryHeads * kHeadDim, kHidden}, 4);
      add_matrix(attention + "k_proj", {2 * kHeadDim, kHidden}, 4);
      add_matrix(attention + "v_proj", {2 * kHeadDim, kHidden}, 4);
      add_matrix(attention + "o_proj", {kHidden, kQueryHeads * kHeadDim}, 4);
      add_vector(attention + "q_norm.weight", kHeadDim);
      add_vector(attention + "k_norm.weight", kHeadDim);
    } else {
      const std::string delta = base + "linear_attn.";
      add_matrix(delta + "in_proj_qkv", {2 * kKeys + kValues, kHidden}, 4);
      add_matrix(delta + "in_proj_z", {kValues, kHidden}, 4);
      add_matrix(delta + "in_proj_a", {kValueHeads, kHidden}, 4);
      add_matrix(delta + "in_proj_b", {kValueHeads, kHidden}, 4);
      add_matrix(delta + "out_proj", {kHidden, kValues}, 4);
      add({delta + "conv1d.weight", DType::kBf16, {2 * kKeys + kValues, 4, 1}});
      add_vector(delta + "A_log", kValueHeads);
      add_vector(delta + "dt_bias", kValueHeads);
      add_vector(delta + "norm.weight", kHeadDim);
    }
    const std::string mlp = base + "mlp.";
    add_matrix(mlp + "gate", {kExperts, kHidden}, 8);
    add_matrix(mlp + "shared_expert_gate", {1, kHidden}, 8);
    for (const std::string& part : {std::string("shared_expert."), std::string("switch_mlp.")}) {
      const bool routed = part == "switch_mlp.";
      const auto shape = [&](int64_t rows, int64_t cols) {
        return routed ? std::vector<int64_t>{kExperts, rows, cols}
                      : std::vector<int64_t>{rows, cols};
      };
      add_matrix(mlp + part + "gate_proj", shape(kIntermediate, kHidden), 4);
      add_matrix(mlp + part + "up_proj", shape(kIntermediate, kHidden), 4);
      add_matrix(mlp + part + "down_proj", shape(kHidden, kIntermediate),
                 routed && layer % 3 == 0 ? 8 : 4);
    }
  }

  void add(SafetensorsWriter::Tensor tensor) { tensors_.push_back(std::move(tensor)); }
  void add_vector(const std::string& name, int64_t width) { add({name, DType::kBf16, {width}}); }
  void add_matrix(const std::string& name, std::vector<int64_t> shape, int bits) {
    const int64_t cols = shape.back();
    shape.back() = cols * bits / 32;
    add({name + ".weight", DType::kU32, shape});
    shape.back() = cols / 64;
    add({name + ".scales", DType::kBf16, shape});
    add({name + ".biases", DType::kBf16, shape});
    if (bits != 4) config_["quantization"][name] = {{"group_size", 64}, {"bits", bits}};
  }

  // Weights of about +-0.06 around zero: codes are random bytes, scales and biases one value each.
  void write_tensors(const std::string& folder) {
    SafetensorsWriter writer(folder, tensors_);
    std::mt19937 random(3);
    std::vector<uint32_t> noise(1 << 18);
    for (uint32_t& word : noise) word = static_cast<uint32_t>(random());
    for (const SafetensorsWriter::Tensor& tensor : tensors_) {
      uint64_t count = 1;
      for (int64_t n : tensor.shape) count *= static_cast<uint64_t>(n);
      if (tensor.dtype == DType::kU32) {
        while (count > 0) {
          const uint64_t n = std::min<uint64_t>(count, noise.size());
          writer.write(std::as_bytes(std::span(noise).first(n)));
          std::rotate(noise.begin(), noise.begin() + 1009, noise.end());
          count -= n;
        }
      } else {
        const bool wide = tensor_bits(tensor.name) == 8;
        const float value = tensor.name.ends_with(".scales")   ? (wide ? 0.0005f : 0.008f)
                            : tensor.name.ends_with(".biases") ? -0.06f
                                                               : 0.5f;
        const std::vector<Bf16> values(count, to_bf16(value));
        writer.write(std::as_bytes(std::span(values)));
      }
    }
    writer.finish();
  }
  int tensor_bits(const std::string& name) const {
    const auto entry = config_["quantization"].find(name.substr(0, name.rfind('.')));
    return entry == config_["quantization"].end() ? 4 : (*entry)["bits"].get<int>();
  }

  nlohmann::json config_;
  std::vector<SafetensorsWriter::Tensor> tensors_;
};

// What `flashmoe logits` needed on the model, or why it did not run.
class MemoryTest : public testing::Test {
 protected:
  Outcome run(std::vector<std::string> arguments, uint64_t budget_bytes, const std::string& io,
              const std::string& backend) {
    const std::string memory = std::to_string(budget_bytes);
    arguments.insert(arguments.end(), {"--context", "1024", "--chunk", "32", "--memory", memory,
                                       "--io", io, "--backend", backend});
    const Outcome outcome = run_command({FLASHMOE_BINARY, arguments});
    if (outcome.exit_code == 0) {
      EXPECT_LE(static_cast<double>(outcome.peak_rss_bytes),
                1.05 * static_cast<double>(budget_bytes))
          << testing::PrintToString(arguments);
    }
    return outcome;
  }
  Outcome logits(uint64_t budget_bytes, const std::string& io, const std::string& backend) {
    return run({"logits", model_, "--ids", ids_, "--out", temp_.file("out.npy")}, budget_bytes, io,
               backend);
  }
  // A size such as "47.3 MiB" behind `words`.
  static uint64_t size_after(const std::string& text, const std::string& words) {
    const size_t begin = text.find(words);
    if (begin == std::string::npos) return 0;
    const size_t number = begin + words.size();
    return parse_size(text.substr(number, text.find("iB", number) + 2 - number));
  }

  const TempFolder temp_;
  const std::string model_ = temp_.file("model");
  const std::string ids_ = temp_.file("ids.txt");
};

TEST_F(MemoryTest, TheBudgetIsKept) {
#ifdef FLASHMOE_SANITIZED
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  constexpr uint64_t kNeededDiskBytes = uint64_t{3} << 30;
  if (fs::space(temp_.path()).available < kNeededDiskBytes) {
    GTEST_SKIP() << "less than 3 GB of disk are free in " << temp_.path();
  }
  fs::create_directory(model_);
  SyntheticModel().write(model_);
  uint64_t model_bytes = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(model_)) {
    model_bytes += entry.file_size();
  }
  // Touches most experts in its first chunk, and reads them again in the second.
  std::string ids;
  for (int i = 0; i < 40; ++i) ids += std::to_string(i * 37 % SyntheticModel::kVocabulary) + "\n";
  temp_.write("ids.txt", ids);

  for (const std::string backend : {"cpu", "ref"}) {
    const Outcome refused = logits(1 << 20, "pread", backend);
    EXPECT_EQ(refused.exit_code, 1) << refused;
    const uint64_t minimum_bytes = size_after(refused.err, "needs at least ");
    const uint64_t tenth_bytes = model_bytes / 10;
    ASSERT_GT(minimum_bytes, 1u << 20) << refused;
    ASSERT_GT(tenth_bytes, minimum_bytes) << "the model is too small for this test";

    std::string expected;
    for (const std::string io : {"uring", "pread", "buffered"}) {
      for (const uint64_t budget_bytes : {minimum_bytes, tenth_bytes}) {
        const Outcome outcome = logits(budget_bytes, io, backend);
        ASSERT_EQ(outcome.exit_code, 0) << outcome;
        const std::string result = temp_.read("out.npy");
        if (expected.empty()) expected = result;
        EXPECT_TRUE(result == expected)
            << backend << ", " << io << ", " << format_bytes(budget_bytes);
      }
    }

    fs::copy_file(fs::path(FLASHMOE_SOURCE_DIR) / "models/tiny/tokenizer.json",
                  model_ + "/tokenizer.json", fs::copy_options::overwrite_existing);
    const Outcome answer = run({"run", model_, "--raw", "Once upon a time", "-n", "16", "--json"},
                               tenth_bytes, "auto", backend);
    ASSERT_EQ(answer.exit_code, 0) << answer;
    const nlohmann::json json = nlohmann::json::parse(answer.out);
    EXPECT_EQ(json["memory_bytes"], tenth_bytes);
    EXPECT_LE(json["peak_rss_bytes"], 1.05 * static_cast<double>(tenth_bytes));
    EXPECT_GT(json["peak_rss_bytes"], 0.5 * static_cast<double>(tenth_bytes)) << "of the cache";
  }
}

}  // namespace
}  // namespace flashmoe::engine

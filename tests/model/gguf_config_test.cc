#include "model/gguf_config.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "model/checkpoint_config.h"
#include "tests/base/temp_folder.h"
#include "tests/format/files.h"
#include "tests/format/gguf_bytes.h"

namespace flashmoe::model {
namespace {

using format::GgufFile;
using nlohmann::json;

// Metadata under an architecture's prefix, by short key, to be changed before they are written.
class Metadata {
 public:
  explicit Metadata(std::string architecture) : architecture_(std::move(architecture)) {
    for (const auto& [key, value] :
         std::map<std::string, uint32_t>{{"block_count", 4},
                                         {"embedding_length", 64},
                                         {"context_length", 4096},
                                         {"expert_count", 8},
                                         {"expert_used_count", 2},
                                         {"expert_feed_forward_length", 32},
                                         {"attention.head_count", 4},
                                         {"attention.head_count_kv", 2},
                                         {"attention.key_length", 16},
                                         {"attention.value_length", 16}}) {
      u32(key, value);
    }
    f32("attention.layer_norm_rms_epsilon", 1e-6f);
    f32("rope.freq_base", 1e7f);
    if (architecture_ == "qwen3moe") return;
    for (const auto& [key, value] :
         std::map<std::string, uint32_t>{{"rope.dimension_count", 4},
                                         {"expert_shared_feed_forward_length", 24},
                                         {"ssm.conv_kernel", 4},
                                         {"ssm.state_size", 8},
                                         {"ssm.group_count", 2},
                                         {"ssm.time_step_rank", 6},
                                         {"ssm.inner_size", 48}}) {
      u32(key, value);
    }
  }

  Metadata& set(const std::string& key, std::function<void(GgufFile&, const std::string&)> add) {
    keys_[key] = std::move(add);
    return *this;
  }
  Metadata& u32(const std::string& key, uint32_t value) {
    return set(key, [=](GgufFile& file, const std::string& name) { file.u32(name, value); });
  }
  Metadata& f32(const std::string& key, float value) {
    return set(key, [=](GgufFile& file, const std::string& name) { file.f32(name, value); });
  }
  Metadata& text(const std::string& key, const std::string& value) {
    return set(key, [=](GgufFile& file, const std::string& name) { file.text(name, value); });
  }
  Metadata& i32s(const std::string& key, const std::vector<int32_t>& values) {
    return set(key, [=](GgufFile& file, const std::string& name) { file.i32s(name, values); });
  }
  Metadata& flags(const std::string& key, const std::vector<bool>& values) {
    return set(key, [=](GgufFile& file, const std::string& name) {
      format::GgufBytes array;
      array.number<uint32_t>(7).number<uint64_t>(values.size());
      for (const bool value : values) array.number<uint8_t>(value ? 1 : 0);
      file.key(name, 9, array.bytes());
    });
  }
  Metadata& drop(const std::string& key) {
    keys_.erase(key);
    return *this;
  }

  std::string bytes(bool tied = false, bool with_tensors = true) const {
    GgufFile file;
    file.text("general.architecture", architecture_);
    file.u32("tokenizer.ggml.eos_token_id", 7);
    for (const auto& [key, add] : keys_) add(file, architecture_ + "." + key);
    if (with_tensors) file.tensor("token_embd.weight", {64, 10}, 0, std::string(2560, '\0'));
    if (!tied) file.tensor("output.weight", {64, 10}, 0, std::string(2560, '\0'));
    return file.bytes();
  }

 private:
  std::string architecture_;
  std::map<std::string, std::function<void(GgufFile&, const std::string&)>> keys_;
};

ModelConfig read(const std::string& bytes) {
  const TempFolder folder;
  folder.write("m.gguf", bytes);
  return read_model_config(*format::Checkpoint::open(folder.file("m.gguf")));
}

void expect_error(ErrorCode code, const std::vector<std::string>& parts, const Metadata& metadata) {
  format::expect_error(code, parts, [&] { read(metadata.bytes()); });
}

TEST(GgufConfig, ReadsQwen3Moe) {
  const ModelConfig c = read(Metadata("qwen3moe").bytes());
  EXPECT_EQ(c.family, Family::kQwen3Moe);
  EXPECT_EQ(c.layers, 4);
  EXPECT_EQ(c.hidden, 64);
  EXPECT_EQ(c.vocab, 10);
  EXPECT_EQ(c.max_context, 4096);
  EXPECT_EQ(c.rms_eps, 1e-6f);
  EXPECT_FALSE(c.tied_embeddings);
  EXPECT_EQ(c.attention_layers(), 4);
  EXPECT_EQ(c.attention.heads, 4);
  EXPECT_EQ(c.attention.kv_heads, 2);
  EXPECT_EQ(c.attention.head_dim, 16);
  EXPECT_EQ(c.attention.rotary_dim, 16);
  EXPECT_EQ(c.attention.rope_theta, 1e7);
  EXPECT_FALSE(c.attention.gated);
  EXPECT_EQ(c.moe.experts, 8);
  EXPECT_EQ(c.moe.experts_per_token, 2);
  EXPECT_EQ(c.moe.intermediate, 32);
  EXPECT_EQ(c.moe.shared_intermediate, 0);
  EXPECT_TRUE(c.moe.normalize);
  EXPECT_EQ(c.eos_ids, std::vector<int>{7});
  EXPECT_TRUE(read(Metadata("qwen3moe").bytes(/*tied=*/true)).tied_embeddings);
}

TEST(GgufConfig, ReadsDeltaNets) {
  for (const char* architecture : {"qwen3next", "qwen35moe"}) {
    const ModelConfig c = read(Metadata(architecture).bytes());
    const bool is_35 = architecture == std::string("qwen35moe");
    EXPECT_EQ(c.family, is_35 ? Family::kQwen35Moe : Family::kQwen3Next);
    EXPECT_EQ(c.delta.tiled, is_35);
    EXPECT_EQ(c.delta.key_heads, 2);
    EXPECT_EQ(c.delta.value_heads, 6);
    EXPECT_EQ(c.delta.key_dim, 8);
    EXPECT_EQ(c.delta.value_dim, 8);
    EXPECT_EQ(c.delta.conv_width, 4);
    EXPECT_EQ(c.attention.rotary_dim, 4);
    EXPECT_TRUE(c.attention.gated);
    EXPECT_EQ(c.moe.shared_intermediate, 24);
    using enum LayerKind;
    EXPECT_EQ(c.layer_kinds, (std::vector<LayerKind>{kDeltaNet, kDeltaNet, kDeltaNet, kAttention}));
    const auto kinds = [&](Metadata metadata) { return read(metadata.bytes()).layer_kinds; };
    EXPECT_EQ(kinds(Metadata(architecture).u32("full_attention_interval", 2)),
              (std::vector<LayerKind>{kDeltaNet, kAttention, kDeltaNet, kAttention}));
    // The list wins over the interval.
    EXPECT_EQ(kinds(Metadata(architecture)
                        .u32("full_attention_interval", 2)
                        .flags("attention.recurrent_layers", {false, true, true, false})),
              (std::vector<LayerKind>{kAttention, kDeltaNet, kDeltaNet, kAttention}));
  }
}

TEST(GgufConfig, SkipsPredictionLayers) {
  const ModelConfig c =
      read(Metadata("qwen35moe")
               .u32("block_count", 5)
               .u32("nextn_predict_layers", 1)
               .flags("attention.recurrent_layers", {true, true, false, true, false})
               .bytes());
  EXPECT_EQ(c.layers, 4);
  EXPECT_EQ(c.prediction_layers, 1);
  EXPECT_EQ(c.attention_layers(), 1);
  expect_error(ErrorCode::kCorrupt, {"qwen35moe.nextn_predict_layers is 4", "block_count is 4"},
               Metadata("qwen35moe").u32("nextn_predict_layers", 4));
}

TEST(GgufConfig, ReadsSizesByLayer) {
  EXPECT_EQ(read(Metadata("qwen3next").i32s("attention.head_count_kv", {0, 0, 0, 2}).bytes())
                .attention.kv_heads,
            2);
  EXPECT_EQ(
      read(Metadata("qwen3moe").i32s("attention.head_count", {8, 8, 8, 8}).bytes()).attention.heads,
      8);
  expect_error(ErrorCode::kUnsupported, {"qwen3moe.attention.head_count", "different sizes"},
               Metadata("qwen3moe").i32s("attention.head_count", {8, 8, 4, 8}));
}

TEST(GgufConfig, RotatesAnyEvenCount) {
  for (uint32_t rotary = 2; rotary <= 512; rotary += 2) {
    EXPECT_EQ(read(Metadata("qwen3next")
                       .u32("attention.key_length", 512)
                       .u32("attention.value_length", 512)
                       .u32("rope.dimension_count", rotary)
                       .bytes())
                  .attention.rotary_dim,
              static_cast<int>(rotary));
  }
  EXPECT_EQ(read(Metadata("qwen35moe")
                     .u32("attention.key_length", 44)
                     .u32("attention.value_length", 44)
                     .u32("rope.dimension_count", 30)
                     .bytes())
                .attention.rotary_dim,
            30);
}

TEST(GgufConfig, RefusesWhatItCannotRun) {
  const auto with = [] { return Metadata("qwen3moe"); };
  expect_error(ErrorCode::kUnsupported, {"general.architecture is \"llama\"", "qwen35moe"},
               Metadata("llama"));
  expect_error(ErrorCode::kUnsupported, {"qwen3moe.rope.scaling.type", "yarn"},
               with().text("rope.scaling.type", "yarn"));
  expect_error(ErrorCode::kUnsupported, {"qwen3moe.attention.sliding_window is 128"},
               with().u32("attention.sliding_window", 128));
  expect_error(ErrorCode::kUnsupported, {"expert_gating_func"},
               with().u32("expert_gating_func", 2));
  expect_error(ErrorCode::kUnsupported, {"attention.value_length"},
               with().u32("attention.value_length", 8));
  expect_error(ErrorCode::kUnsupported, {"rope.dimension_count is 8"},
               with().u32("rope.dimension_count", 8));
  EXPECT_NO_THROW(read(with().text("rope.scaling.type", "none").bytes()));
}

TEST(GgufConfig, RefusesWhatMakesNoSense) {
  for (const char* key :
       {"block_count", "embedding_length", "context_length", "expert_count", "expert_used_count",
        "expert_feed_forward_length", "attention.head_count", "attention.layer_norm_rms_epsilon"}) {
    expect_error(ErrorCode::kCorrupt, {"m.gguf: ", std::string("qwen3moe.") + key + " is absent"},
                 Metadata("qwen3moe").drop(key));
    expect_error(ErrorCode::kCorrupt, {std::string("qwen3moe.") + key + " is \"4\""},
                 Metadata("qwen3moe").text(key, "4"));
  }
  for (const char* key : {"ssm.conv_kernel", "ssm.state_size", "ssm.group_count",
                          "ssm.time_step_rank", "ssm.inner_size"}) {
    expect_error(ErrorCode::kCorrupt, {std::string("qwen35moe.") + key + " is absent"},
                 Metadata("qwen35moe").drop(key));
  }
  expect_error(ErrorCode::kCorrupt, {"qwen35moe.ssm.inner_size is 40"},
               Metadata("qwen35moe").u32("ssm.inner_size", 40));
  expect_error(ErrorCode::kCorrupt, {"qwen3next.attention.recurrent_layers", "4 layers"},
               Metadata("qwen3next").flags("attention.recurrent_layers", {true}));
  expect_error(ErrorCode::kCorrupt, {"true and false"},
               Metadata("qwen3next").i32s("attention.recurrent_layers", {1, 1, 1, 0}));
  format::expect_error(ErrorCode::kNotFound, {"token_embd.weight", "vocabulary alone"},
                       [] { read(Metadata("qwen3moe").bytes(false, /*with_tensors=*/false)); });
}

}  // namespace
}  // namespace flashmoe::model

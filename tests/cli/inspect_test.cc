// flashmoe inspect: what it says of each golden model must agree with the model's own files.
#include <filesystem>
#include <fstream>

#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

namespace fs = std::filesystem;

nlohmann::json read_json(const fs::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

// Bytes of tensors in a folder: its files less their headers.
uint64_t tensor_bytes(const fs::path& folder) {
  uint64_t total = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    std::ifstream file(entry.path(), std::ios::binary);
    uint64_t header_bytes = 0;
    for (int i = 0; i < 8; ++i) header_bytes |= static_cast<uint64_t>(file.get()) << (8 * i);
    total += entry.file_size() - 8 - header_bytes;
  }
  return total;
}

void expect_described(const fs::path& folder) {
  nlohmann::json config = read_json(folder / "config.json");
  if (config.contains("text_config")) config = config["text_config"];
  const nlohmann::json json = json_output(flashmoe({"inspect", folder, "--json"}));
  EXPECT_EQ(json["path"], folder.string());
  const std::string architecture = json["architecture"];
  EXPECT_TRUE(config["model_type"].get<std::string>().starts_with(architecture)) << json;
  EXPECT_EQ(json["layers"], config["num_hidden_layers"]);
  EXPECT_EQ(json["attention_layers"].get<int>() + json["delta_net_layers"].get<int>(),
            config["num_hidden_layers"]);
  EXPECT_EQ(json["hidden"], config["hidden_size"]);
  EXPECT_EQ(json["vocabulary"], config["vocab_size"]);
  EXPECT_EQ(json["max_context"], config["max_position_embeddings"]);
  EXPECT_EQ(json["experts"], config["num_experts"]);
  EXPECT_EQ(json["experts_per_token"], config["num_experts_per_tok"]);
  const uint64_t dense = json["dense_bytes"], routed = json["routed_bytes"];
  const uint64_t described = dense + routed + json["unused_bytes"].get<uint64_t>();
  // Groups of inputs in their order, and shapes, are read for what they say and not counted.
  const bool has_notes = config.contains("quantization_config") && described < tensor_bytes(folder);
  if (!has_notes) {
    EXPECT_EQ(described, tensor_bytes(folder));
  }
  EXPECT_EQ(json["token_expert_bytes"].get<uint64_t>() * json["experts"].get<uint64_t>(),
            routed * json["experts_per_token"].get<uint64_t>());
  EXPECT_LE(json["token_dense_bytes"], dense);
  EXPECT_EQ(json["unused"].empty(), json["unused_bytes"] == 0);
  uint64_t matrices = 0;
  for (const nlohmann::json& kind : json["tensors"]) {
    EXPECT_GT(kind["weights"], 0) << kind;
    EXPECT_GT(kind["bits_per_weight"], 2) << kind;
    EXPECT_LE(kind["bits_per_weight"], 32) << kind;
    matrices += kind["bytes"].get<uint64_t>();
  }
  // The rest are norms and the delta net's vectors.
  EXPECT_GE(matrices, routed);
  EXPECT_LE(matrices, dense + routed);

  const Outcome text = flashmoe({"inspect", folder});
  EXPECT_EQ(text.exit_code, 0) << text;
  EXPECT_EQ(text.err, "");
  EXPECT_TRUE(is_utf8(text.out));
  for (const std::string& part :
       {folder.string(), architecture, std::string("routed"), std::string("a token reads")}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part << " in " << text;
  }
  for (const nlohmann::json& kind : json["tensors"]) {
    EXPECT_NE(text.out.find(kind["format"].get<std::string>()), std::string::npos) << kind;
  }
}

class InspectGoldenTest : public testing::TestWithParam<std::string> {};
TEST_P(InspectGoldenTest, AgreesWithTheFiles) {
  const fs::path folder = golden_models() / GetParam();
  if (!fs::exists(folder / "config.json"))
    GTEST_SKIP() << "a GGUF model has no config to agree with";
  expect_described(folder);
}
INSTANTIATE_TEST_SUITE_P(Models, InspectGoldenTest, testing::ValuesIn(golden_model_names()),
                         [](const auto& info) { return info.param; });

using InspectTest = TinyModelTest;
TEST_F(InspectTest, AgreesWithTheFilesOfTheTrainedModel) { expect_described(tiny_); }

TEST(InspectFormatTest, NamesTheFormatOfEachKind) {
  const auto formats = [](const std::string& model) {
    std::map<std::string, std::string> result;
    const nlohmann::json json =
        json_output(flashmoe({"inspect", golden_models() / model, "--json"}));
    for (const nlohmann::json& kind : json["tensors"]) result[kind["kind"]] = kind["format"];
    return result;
  };
  std::map<std::string, std::string> mlx = formats("mlx_qwen3_5_moe_4bit_bf16");
  EXPECT_EQ(mlx["experts down"], "affine 4-bit g64");
  EXPECT_EQ(mlx["router"], "affine 8-bit g64");
  std::map<std::string, std::string> plain = formats("qwen3_moe_split_bf16");
  EXPECT_EQ(plain["experts gate and up"], "bf16");
  EXPECT_EQ(plain["attention"], "bf16");
}

TEST(InspectUnusedTest, ListsVisionAndPredictionTensors) {
  const nlohmann::json json =
      json_output(flashmoe({"inspect", golden_models() / "qwen3_5_moe_wrapper_bf16", "--json"}));
  bool vision = false, prediction = false;
  for (const std::string name : json["unused"]) {
    vision = vision || name.find("visual") != std::string::npos;
    prediction = prediction || name.find("mtp") != std::string::npos;
  }
  EXPECT_TRUE(vision) << json["unused"];
  EXPECT_TRUE(prediction) << json["unused"];
}

}  // namespace
}  // namespace flashmoe::cli

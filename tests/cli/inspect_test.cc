// flashmoe inspect: what it says of each golden model must agree with the model's own files.
#include <filesystem>
#include <fstream>

#include "base/npy.h"
#include "format/checkpoint.h"
#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

namespace fs = std::filesystem;

nlohmann::json read_json(const fs::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

// The GGUF file in a folder, its first part; empty if there is none.
fs::path gguf_in(const fs::path& folder) {
  fs::path first;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const fs::path& path = entry.path();
    if (path.extension() == ".gguf" && (first.empty() || path < first)) first = path;
  }
  return first;
}

// Bytes of tensors in a folder: of safetensors, its files less their headers; of GGUF, where there
// is padding between them, added up.
uint64_t tensor_bytes(const fs::path& folder) {
  uint64_t total = 0;
  if (const fs::path file = gguf_in(folder); !file.empty()) {
    const auto checkpoint = format::Checkpoint::open(file);
    for (const auto& tensor : checkpoint->tensors()) {
      total += tensor.extent.bytes;
    }
    return total;
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    std::ifstream file(entry.path(), std::ios::binary);
    uint64_t header_bytes = 0;
    for (int i = 0; i < 8; ++i) header_bytes |= static_cast<uint64_t>(file.get()) << (8 * i);
    total += entry.file_size() - 8 - header_bytes;
  }
  return total;
}

// What config.json would say, from the metadata of a GGUF file.
nlohmann::json gguf_config(const fs::path& file) {
  const nlohmann::json metadata = format::Checkpoint::open(file)->config();
  const std::string architecture = metadata["general.architecture"];
  const std::map<std::string, std::string> types = {
      {"qwen3moe", "qwen3_moe"}, {"qwen3next", "qwen3_next"}, {"qwen35moe", "qwen3_5_moe"}};
  const auto value = [&](const std::string& key) { return metadata[architecture + "." + key]; };
  const uint64_t predicting = metadata.value(architecture + ".nextn_predict_layers", 0u);
  return {{"model_type", types.at(architecture)},
          {"num_hidden_layers", value("block_count").get<uint64_t>() - predicting},
          {"hidden_size", value("embedding_length")},
          {"vocab_size", read_npy(file.parent_path() / "logits.npy").shape[1]},
          {"max_position_embeddings", value("context_length")},
          {"num_experts", value("expert_count")},
          {"num_experts_per_tok", value("expert_used_count")}};
}

void expect_described(const fs::path& folder) {
  const fs::path file = gguf_in(folder);
  nlohmann::json config = file.empty() ? read_json(folder / "config.json") : gguf_config(file);
  if (config.contains("text_config")) config = config["text_config"];
  const nlohmann::json json = json_output(flashmoe({"inspect", folder, "--json"}));
  EXPECT_EQ(json["path"], (file.empty() ? folder : file).string());
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
  EXPECT_EQ(described, tensor_bytes(folder));
  EXPECT_EQ(json["token_expert_bytes"].get<uint64_t>() * json["experts"].get<uint64_t>(),
            routed * json["experts_per_token"].get<uint64_t>());
  EXPECT_LE(json["token_dense_bytes"], dense);
  EXPECT_EQ(json["unused"].empty(), json["unused_bytes"] == 0);
  uint64_t matrices = 0;
  for (const nlohmann::json& kind : json["tensors"]) {
    EXPECT_GT(kind["weights"], 0) << kind;
    EXPECT_GT(kind["bits_per_weight"], 1.5) << kind;
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
TEST_P(InspectGoldenTest, AgreesWithTheFiles) { expect_described(golden_models() / GetParam()); }
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

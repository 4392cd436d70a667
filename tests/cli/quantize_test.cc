// flashmoe quantize, and the other commands on what it wrote.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/npy.h"
#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"
#include "tests/convert/model_folder.h"

namespace flashmoe::cli {
namespace {

namespace fs = std::filesystem;

struct Source {
  const char* name;
  model::Family family;
  convert::Layout layout;
};

class QuantizeTest : public testing::TestWithParam<Source> {
 protected:
  std::vector<float> logits(const std::string& model) {
    std::string ids;
    for (int i = 0; i < 32; ++i) ids += std::to_string(i * 29 % 80) + "\n";
    const Outcome outcome = flashmoe({"logits", model, "--ids", temp_.write("ids.txt", ids),
                                      "--out", temp_.file("out.npy"), "--backend", "ref"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome;
    return std::get<std::vector<float>>(read_npy(temp_.file("out.npy")).values);
  }

  const TempFolder temp_;
};

TEST_P(QuantizeTest, WritesAModelThatRuns) {
  const std::string source = temp_.file("source");
  fs::create_directory(source);
  convert::ModelFolder(GetParam().family, GetParam().layout, quant::DType::kBf16, {}).write(source);
  const std::vector<float> expected = logits(source);
  std::map<int, double> errors;
  for (const int bits : {8, 4}) {
    const std::string out = temp_.file("out-" + std::to_string(bits));
    const Outcome outcome = flashmoe({"quantize", source, out, "--bits", std::to_string(bits),
                                      "--group", "32", "--recipe", "even"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome;
    EXPECT_EQ(outcome.out, "");
    std::set<std::string> formats;
    const nlohmann::json description = json_output(flashmoe({"inspect", out, "--json"}));
    for (const nlohmann::json& kind : description["tensors"]) {
      if (kind["kind"].get<std::string>().starts_with("experts")) formats.insert(kind["format"]);
    }
    EXPECT_EQ(formats, std::set{"affine " + std::to_string(bits) + "-bit g32"});
    errors[bits] = relative_error(logits(out), expected);
  }
  // Rounding is checked to the bit in tests/convert; here, that it is this model that runs. Models
  // of random weights are sensitive: some routes change.
  EXPECT_LT(errors[8], 0.25);
  EXPECT_GT(errors[4], 3 * errors[8]);
  EXPECT_EQ(entries(temp_.path()), 5u) << "something half-written is left";
}

INSTANTIATE_TEST_SUITE_P(
    Models, QuantizeTest,
    testing::Values(Source{"qwen3_moe", model::Family::kQwen3Moe, convert::Layout::kSplit},
                    Source{"qwen3_next", model::Family::kQwen3Next, convert::Layout::kSplit},
                    Source{"qwen3_5_moe", model::Family::kQwen35Moe, convert::Layout::kWrapped}),
    [](const auto& info) { return info.param.name; });

// From every kind of source: the golden logits are of the source's dequantised weights, so what 8
// bits change of them is all that may differ: as above, these models make up to 0.25 of it. Rows,
// value heads or inputs in a wrong order would give an error near 1.4, that of two models that have
// nothing to do with each other.
class QuantizeSourceTest : public testing::TestWithParam<std::string> {};

TEST_P(QuantizeSourceTest, GivesTheModelThatItWas) {
  const fs::path source = golden_models() / GetParam();
  const TempFolder temp;
  fs::path model = source;
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename();
    if (name == "model.gguf" || name.ends_with("-00001-of-00002.gguf")) model = entry.path();
  }
  const Outcome quantized = flashmoe(
      {"quantize", model, temp.file("out"), "--bits", "8", "--group", "32", "--recipe", "even"});
  ASSERT_EQ(quantized.exit_code, 0) << quantized;
  EXPECT_NE(quantized.err.find("quantised already"), std::string::npos) << quantized;
  const Outcome run = flashmoe({"logits", temp.file("out"), "--ids", source / "ids.txt", "--out",
                                temp.file("out.npy"), "--backend", "ref"});
  ASSERT_EQ(run.exit_code, 0) << run;
  const NpyArray golden = read_npy(source / "logits.npy");
  const NpyArray logits = read_npy(temp.file("out.npy"));
  ASSERT_EQ(logits.shape, golden.shape);
  const auto values = [](const NpyArray& a) {
    return std::span<const float>(std::get<std::vector<float>>(a.values));
  };
  const auto vocab = static_cast<size_t>(golden.shape[1]);
  std::vector<double> errors;
  for (size_t at = 0; at < values(golden).size(); at += vocab) {
    errors.push_back(
        relative_error(values(logits).subspan(at, vocab), values(golden).subspan(at, vocab)));
  }
  std::nth_element(errors.begin(), errors.begin() + errors.size() / 2, errors.end());
  EXPECT_LT(errors[errors.size() / 2], 0.25);
}

INSTANTIATE_TEST_SUITE_P(Kinds, QuantizeSourceTest,
                         testing::Values("gguf_qwen3moe_k", "gguf_qwen3next_ssm_in",
                                         "gguf_qwen3next_split_qkv", "gguf_qwen35moe_tiled",
                                         "gguf_qwen35moe_iq", "fp8_qwen3_5_moe_blocks_f32",
                                         "gptq_qwen3_next_act_order_v2", "awq_qwen3_moe",
                                         "packed_qwen3_moe_groups_f16",
                                         "float_qwen3_moe_mixed_bf16", "mlx_qwen3_moe_mxfp4",
                                         "mlx_qwen3_moe_nvfp4_global"),
                         [](const auto& info) { return info.param; });

// The default recipe, whose fits are shared among the threads row by row.
TEST(QuantizeThreadsTest, ThreadsDoNotShow) {
  const TempFolder temp;
  const std::string source = golden_models() / "qwen3_5_moe_wrapper_bf16";
  const auto result = [&](const std::string& threads) {
    const std::string out = "out-" + threads;
    const Outcome outcome =
        flashmoe({"quantize", source, temp.file(out), "--bits", "3", "--threads", threads});
    EXPECT_EQ(outcome.exit_code, 0) << outcome;
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(temp.file(out))) {
      const std::string name = entry.path().filename();
      files[name] = temp.read(out + "/" + name);
    }
    return files;
  };
  const auto one = result("1");
  EXPECT_GT(one.size(), 1u);
  for (const char* threads : {"2", "5"}) EXPECT_TRUE(result(threads) == one) << threads;
}

class QuantizeRefusalTest : public testing::Test {
 protected:
  const std::string source_ = golden_models() / "qwen3_moe_split_bf16";
  const TempFolder temp_;
};

TEST_F(QuantizeRefusalTest, AFullDestinationIsLeftAlone) {
  temp_.write("out/mine.txt", "mine");
  expect_usage_error(flashmoe({"quantize", source_, temp_.file("out")}), {"out", "not empty"});
  expect_usage_error(flashmoe({"quantize", source_, temp_.write("file", "mine")}),
                     {"file", "not a folder"});
  EXPECT_EQ(temp_.read("out/mine.txt"), "mine");
  EXPECT_EQ(entries(temp_.file("out")), 1u);
  EXPECT_EQ(entries(temp_.path()), 2u);
}

TEST_F(QuantizeRefusalTest, AnEmptyDestinationIsTaken) {
  fs::create_directory(temp_.file("out"));
  EXPECT_EQ(flashmoe({"quantize", source_, temp_.file("out")}).exit_code, 0);
  EXPECT_TRUE(fs::exists(temp_.file("out/config.json")));
}

TEST_F(QuantizeRefusalTest, BadOptions) {
  const std::string out = temp_.file("out");
  expect_usage_error(flashmoe({"quantize", source_, out, "--bits", "7"}), {"--bits", "7"});
  expect_usage_error(flashmoe({"quantize", source_, out, "--bits", "four"}), {"--bits", "four"});
  expect_usage_error(flashmoe({"quantize", source_, out, "--group", "48"}), {"--group", "48"});
  expect_usage_error(flashmoe({"quantize", source_}), {"OUT"});
  EXPECT_EQ(entries(temp_.path()), 0u);
}

TEST_F(QuantizeRefusalTest, BadPlaces) {
  expect_failure(flashmoe({"quantize", source_, temp_.file("no/out")}), {"no folder"});
  expect_failure(flashmoe({"quantize", temp_.file("absent"), temp_.file("out")}), {"absent"});
  EXPECT_EQ(entries(temp_.path()), 0u);
}

TEST_F(QuantizeRefusalTest, AQuantisedModelIsOnlyWarnedOf) {
  const std::string source = golden_models() / "mlx_qwen3_moe_4bit_bf16";
  const Outcome outcome = flashmoe({"quantize", source, temp_.file("out")});
  EXPECT_EQ(outcome.exit_code, 0) << outcome;
  EXPECT_NE(outcome.err.find("quantised already"), std::string::npos) << outcome;
}

TEST_F(QuantizeRefusalTest, RecipesAreFoundAndPrinted) {
  expect_usage_error(flashmoe({"quantize", source_, temp_.file("out"), "--recipe", "nouvelle"}),
                     {"nouvelle", "minmax"});
  expect_usage_error(flashmoe({"quantize", "--print-recipe", "--recipe", "nouvelle"}),
                     {"nouvelle", "minmax"});
  const Outcome outcome = flashmoe({"quantize", "--print-recipe", "--bits", "2"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome;
  const std::string path = temp_.write("recipe.json", "// mine\n" + outcome.out);
  EXPECT_EQ(flashmoe({"quantize", source_, temp_.file("out"), "--recipe", path}).exit_code, 0);
}

}  // namespace
}  // namespace flashmoe::cli

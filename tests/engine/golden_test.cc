// The whole model against Hugging Face transformers. The goldens (tests/golden/models) are small
// random models of each family and layout with float32 logits; tools/oracle made them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/npy.h"
#include "engine/sampler.h"
#include "tests/base/temp_folder.h"
#include "tests/engine/forced_logits.h"

namespace flashmoe::engine {
namespace {

namespace fs = std::filesystem;

const fs::path kModels = fs::path(FLASHMOE_SOURCE_DIR) / "tests/golden/models";

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(kModels)) {
    if (fs::exists(entry.path() / "logits.npy")) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class GoldenModelTest : public testing::TestWithParam<std::string> {
 protected:
  void expect_agreement(EngineOptions options);
};

void GoldenModelTest::expect_agreement(EngineOptions options) {
  const fs::path folder = kModels / GetParam();
  const std::vector<int32_t> ids = read_ids(folder / "ids.txt");
  std::ifstream meta_file(folder / "meta.json");
  const size_t prompt_tokens = nlohmann::json::parse(meta_file).at("prompt_tokens");
  const NpyArray golden = read_npy(folder / "logits.npy");
  const std::vector<float>& expected = std::get<std::vector<float>>(golden.values);
  ASSERT_GE(ids.size() - prompt_tokens, 64u);

  options.model = folder;
  options.chunk = 16;  // the prompt takes two steps
  const Logits logits = forced_logits(options, ids, prompt_tokens);
  ASSERT_EQ(golden.shape, (std::vector<int64_t>{static_cast<int64_t>(ids.size()), logits.vocab}));
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto row = std::span(expected).subspan(i * static_cast<size_t>(logits.vocab),
                                                 static_cast<size_t>(logits.vocab));
    EXPECT_LE(relative_error(logits.row(i), row), 1e-4) << "token " << i;
  }
}

TEST_P(GoldenModelTest, RefAgreesWithTransformers) {
  EngineOptions options;
  options.backend = "ref";
  expect_agreement(options);
}

TEST_P(GoldenModelTest, ExactAgreesWithTransformers) {
  EngineOptions options;
  options.exact = true;
  expect_agreement(options);
}

// What the cpu backend's rounding of activations costs these models, which weigh it more than
// trained ones do.
TEST_P(GoldenModelTest, CpuStaysNearTransformers) {
  const fs::path folder = kModels / GetParam();
  const std::vector<int32_t> ids = read_ids(folder / "ids.txt");
  EngineOptions options;
  options.model = folder;
  const Logits logits = forced_logits(options, ids, ids.size());
  const NpyArray golden = read_npy(folder / "logits.npy");
  const std::span<const float> expected = std::get<std::vector<float>>(golden.values);
  const size_t vocab = static_cast<size_t>(logits.vocab);
  std::vector<double> errors;
  for (size_t i = 0; i < ids.size(); ++i) {
    errors.push_back(relative_error(logits.row(i), expected.subspan(i * vocab, vocab)));
  }
  EXPECT_LE(median(errors), 0.12);  // the largest seen is 0.092
}

// The convention of zeros is told by config.json alone: the other one must show.
TEST(GoldenGptqTest, ZerosOfTheOtherConventionAreNoticed) {
  const std::pair<const char*, const char*> models[] = {{"gptq_qwen3_moe_4bit", "gptq_v2"},
                                                        {"gptq_qwen3_next_act_order_v2", "gptq"}};
  for (const auto& [name, convention] : models) {
    const TempFolder folder;
    nlohmann::json config;
    std::ifstream(kModels / name / "config.json") >> config;
    config["quantization_config"]["checkpoint_format"] = convention;
    folder.write("config.json", config.dump());
    fs::copy(kModels / name / "model.safetensors", fs::path(folder.path()) / "model.safetensors");
    const std::vector<int32_t> ids = read_ids(kModels / name / "ids.txt");
    EngineOptions options;
    options.model = folder.path();
    options.backend = "ref";
    const Logits logits = forced_logits(options, ids, ids.size());
    const NpyArray golden = read_npy(kModels / name / "logits.npy");
    const std::span<const float> expected = std::get<std::vector<float>>(golden.values);
    EXPECT_GT(relative_error(logits.values, expected), 0.1) << name;
  }
}

// The trained model that models/tiny was quantised from, on two conversations.
TEST(GoldenTinyTest, RefAgreesWithTransformers) {
  const fs::path weights = fs::path(FLASHMOE_SOURCE_DIR) / "../shared/models/tiny-bf16";
  if (!fs::exists(weights)) GTEST_SKIP() << weights << " is not here";
  for (const char* chat : {"0", "1"}) {
    const std::vector<int32_t> ids = read_ids(kModels / fmt::format("tiny/ids_{}.txt", chat));
    EngineOptions options;
    options.model = weights;
    options.backend = "ref";
    const Logits logits = forced_logits(options, ids, ids.size());
    EXPECT_EQ(read_ids(kModels / fmt::format("tiny/argmax_{}.txt", chat)), [&] {
      std::vector<int32_t> best;
      for (size_t i = 0; i < logits.rows(); ++i) best.push_back(argmax(logits.row(i)));
      return best;
    }());
    const NpyArray golden = read_npy(kModels / fmt::format("tiny/last_logits_{}.npy", chat));
    const std::span<const float> expected = std::get<std::vector<float>>(golden.values);
    const size_t rows = static_cast<size_t>(golden.shape[0]), vocab = expected.size() / rows;
    for (size_t i = 0; i < rows; ++i) {
      EXPECT_LE(
          relative_error(logits.row(logits.rows() - rows + i), expected.subspan(i * vocab, vocab)),
          1e-4)
          << "chat " << chat << " row " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenModelTest, testing::ValuesIn(model_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace flashmoe::engine

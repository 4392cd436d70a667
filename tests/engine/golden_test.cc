// The whole model against Hugging Face transformers. The goldens (tests/golden/models) are small
// random models of each family and layout with float32 logits; tools/oracle made them.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/npy.h"
#include "tests/engine/forced_logits.h"

namespace flashmoe::engine {
namespace {

namespace fs = std::filesystem;

const fs::path kModels = fs::path(FLASHMOE_SOURCE_DIR) / "tests/golden/models";

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(kModels)) {
    if (fs::exists(entry.path() / "config.json") && fs::exists(entry.path() / "logits.npy")) {
      names.push_back(entry.path().filename());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

class GoldenModelTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenModelTest, RefAgreesWithTransformers) {
  const fs::path folder = kModels / GetParam();
  const std::vector<int32_t> ids = read_ids(folder / "ids.txt");
  std::ifstream meta_file(folder / "meta.json");
  const size_t prompt_tokens = nlohmann::json::parse(meta_file).at("prompt_tokens");
  const NpyArray golden = read_npy(folder / "logits.npy");
  const std::vector<float>& expected = std::get<std::vector<float>>(golden.values);
  ASSERT_GE(ids.size() - prompt_tokens, 64u);

  EngineOptions options;
  options.model = folder;
  options.backend = "ref";
  options.chunk = 16;  // the prompt takes two steps
  const Logits logits = forced_logits(options, ids, prompt_tokens);
  ASSERT_EQ(golden.shape, (std::vector<int64_t>{static_cast<int64_t>(ids.size()), logits.vocab}));
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto row = std::span(expected).subspan(i * static_cast<size_t>(logits.vocab),
                                                 static_cast<size_t>(logits.vocab));
    EXPECT_LE(relative_error(logits.row(i), row), 1e-4) << "token " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenModelTest, testing::ValuesIn(model_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace flashmoe::engine

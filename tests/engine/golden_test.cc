// The whole model against Hugging Face transformers. The goldens (tests/golden/models) are small
// random models of each family and layout with float32 logits; tools/oracle made them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "base/npy.h"
#include "engine/sampler.h"
#include "kernels/cpu/linear.h"
#include "kernels/ref/ref_backend.h"
#include "quant/arithmetic.h"
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

// `ref` with noise in place of the cpu backend's rounding. Where that rounds an input to a step, of
// which 127 make the largest of its block of 64, here every input gets an error spread evenly over
// that step: of the same variance, and as independent of the value. `bits` less than 8 make the
// step that much larger.
class NoisyRef : public kernels::RefBackend {
 public:
  NoisyRef(ThreadPool& pool, uint32_t seed, int bits)
      : RefBackend(pool), seed_(seed), steps_(static_cast<float>((1 << (bits - 1)) - 1)) {}

 protected:
  Form operand_form(const quant::Format& weight, kernels::Precision asked) const override {
    const bool rounds = kernels::cpu::takes_int8(weight) && asked == kernels::Precision::kFast;
    return rounds ? Form::kRounded : Form::kFloat;
  }
  void load_operand(const float* x, int64_t index, const Operand& operand) const noexcept override {
    if (operand.form == Form::kFloat) {
      return RefBackend::load_operand(x, index, operand);
    }
    std::vector<float> noisy(x, x + operand.cols);
    for (size_t begin = 0; begin < noisy.size(); begin += quant::kBlock) {
      const size_t end = std::min(noisy.size(), begin + quant::kBlock);
      float largest = 0;
      for (size_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(x[i]));
      for (size_t i = begin; i < end; ++i) noisy[i] += noise(x[i], i) * largest / steps_;
    }
    RefBackend::load_operand(noisy.data(), index, operand);
  }

 private:
  // From -0.5 to 0.5, by value and place alone: all products of an input see the same error, as
  // they see the same rounding.
  float noise(float value, size_t place) const noexcept {
    std::minstd_rand random(std::bit_cast<uint32_t>(value) * 2654435761u ^
                            static_cast<uint32_t>(place) * 40503u ^ seed_);
    random.discard(2);
    return static_cast<float>(random() - std::minstd_rand::min()) /
               static_cast<float>(std::minstd_rand::max() - std::minstd_rand::min()) -
           0.5f;
  }

  const uint32_t seed_;
  const float steps_;
};

// The median, over the tokens, of how far logits are from transformers'.
double median_error(const Logits& logits, std::span<const float> expected) {
  const auto vocab = static_cast<size_t>(logits.vocab);
  std::vector<double> errors;
  for (size_t i = 0; i < logits.rows(); ++i) {
    errors.push_back(relative_error(logits.row(i), expected.subspan(i * vocab, vocab)));
  }
  return median(errors);
}

// What the rounding of activations costs a model depends on the model: these random ones make much
// more of it than trained ones do. So the cost is compared with that of noise of the same variance
// at the same places. Of one model the two are alike within a factor: an early route that goes
// another way may double all errors after it, with this noise or that rounding. The logarithms of
// the factors of 22 models with products of 8 bits, which spread by about 0.3 each, have a mean
// that spreads by 0.06: it must be within 0.2, and noise of one bit less is at 0.7.
TEST(GoldenRoundingTest, CpuErrsAsMuchAsItsRoundingExplains) {
  double mean_log = 0, mean_log_of_less = 0;
  int rounded_models = 0;
  for (const std::string& name : model_names()) {
    const fs::path folder = kModels / name;
    const std::vector<int32_t> ids = read_ids(folder / "ids.txt");
    const NpyArray golden = read_npy(folder / "logits.npy");
    const std::span<const float> expected = std::get<std::vector<float>>(golden.values);
    EngineOptions options;
    options.model = folder;
    const double error = median_error(forced_logits(options, ids, ids.size()), expected);
    options.kv = KvType::kF16;
    options.backend = "ref";
    const auto error_with_noise = [&](uint32_t seed, int bits) {
      OpenHooks hooks;
      hooks.make_backend = [&](ThreadPool& pool) {
        return std::make_unique<NoisyRef>(pool, seed, bits);
      };
      return median_error(forced_logits(options, ids, ids.size(), hooks), expected);
    };
    const double noise =
        median({error_with_noise(0, 8), error_with_noise(1, 8), error_with_noise(2, 8)});
    if (noise < 2e-3) {  // no products of 8 bits: keys and values in 16, as rounded in both
      EXPECT_LE(error, 1.1 * noise) << name;
      continue;
    }
    EXPECT_LE(error, 3 * noise) << name;
    EXPECT_GE(error, noise / 3) << name;
    ++rounded_models;
    mean_log += std::log(error / noise);
    mean_log_of_less += std::log(error_with_noise(3, 7) / noise);
  }
  mean_log /= rounded_models;
  mean_log_of_less /= rounded_models;
  RecordProperty("mean_log", std::to_string(mean_log));
  RecordProperty("mean_log_of_less", std::to_string(mean_log_of_less));
  EXPECT_GE(rounded_models, 20);
  EXPECT_LE(std::abs(mean_log), 0.2);
  EXPECT_GE(mean_log_of_less, 0.4) << "a lost bit would not show";
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

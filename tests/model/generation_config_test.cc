#include "model/generation_config.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "tests/format/files.h"

namespace flashmoe::model {
namespace {

using format::expect_error;
using nlohmann::json;

TEST(GenerationDefaults, AgreeWithTransformers) {
  const json cases = json::parse(format::read_file(std::string(FLASHMOE_SOURCE_DIR) +
                                                   "/tests/golden/formats/generation.json"));
  ASSERT_EQ(cases.size(), 4u);
  for (const json& c : cases) {
    const json& e = c.at("expected");
    const GenerationDefaults defaults = parse_generation_defaults(c.at("config"), "g", {});
    EXPECT_EQ(defaults.eos_ids, e.at("eos").get<std::vector<int>>());
    EXPECT_EQ(defaults.do_sample, e.at("do_sample"));
    EXPECT_EQ(defaults.temperature, e.at("temperature"));
    EXPECT_EQ(defaults.top_k, e.at("top_k"));
    EXPECT_EQ(defaults.top_p, e.at("top_p"));
    EXPECT_EQ(defaults.min_p, e.at("min_p"));
    EXPECT_EQ(defaults.repetition_penalty, e.at("repetition_penalty"));
  }
}

TEST(GenerationDefaults, EosFallsBackToTheModels) {
  ModelConfig config;
  config.eos_ids = {3, 4};
  EXPECT_EQ(parse_generation_defaults(json::object(), "g", config).eos_ids, config.eos_ids);
  EXPECT_EQ(parse_generation_defaults({{"eos_token_id", 5}}, "g", config).eos_ids,
            std::vector<int>{5});
}

TEST(GenerationDefaults, ComeFromTheFolder) {
  const TempFolder folder;
  ModelConfig config;
  config.eos_ids = {3};
  const GenerationDefaults absent = read_generation_defaults(folder.path(), config);
  EXPECT_EQ(absent.eos_ids, config.eos_ids);
  EXPECT_FALSE(absent.do_sample);
  folder.write("generation_config.json", R"({"do_sample":true,"temperature":0.5})");
  const GenerationDefaults present = read_generation_defaults(folder.path(), config);
  EXPECT_TRUE(present.do_sample);
  EXPECT_EQ(present.temperature, 0.5);
  folder.write("generation_config.json", "{");
  expect_error(ErrorCode::kCorrupt, {folder.file("generation_config.json"), "not valid JSON"},
               [&] { read_generation_defaults(folder.path(), config); });
}

TEST(GenerationDefaults, RefusesValuesOfTheWrongKindOrRange) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"temperature":-1})", "temperature is -1: "},
      {R"({"temperature":"hot"})", "temperature is \"hot\": "},
      {R"({"top_k":-1})", "top_k is -1: "},
      {R"({"top_k":1.5})", "top_k is 1.5: "},
      {R"({"top_p":1.1})", "top_p is 1.1: "},
      {R"({"min_p":2})", "min_p is 2: "},
      {R"({"repetition_penalty":0})", "repetition_penalty is 0: "},
      {R"({"do_sample":1})", "do_sample is 1: "},
      {R"({"eos_token_id":"x"})", "eos_token_id is \"x\": "},
      {R"([])", "not a JSON object"}};
  for (const auto& [text, message] : cases) {
    const json values = json::parse(text);
    expect_error(ErrorCode::kCorrupt, {"m/g.json: ", message},
                 [&] { parse_generation_defaults(values, "m/g.json", {}); });
  }
}

}  // namespace
}  // namespace flashmoe::model

#include "convert/recipe.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace flashmoe::convert {
namespace {

MlxFormat format(const Recipe& recipe, const std::string& path, int64_t cols = 128) {
  const auto format = recipe.format_of(path, cols);
  EXPECT_TRUE(format) << path;
  return format.value_or(MlxFormat{});
}

bool operator==(const MlxFormat& a, const MlxFormat& b) {
  return a.bits == b.bits && a.group == b.group;
}

TEST(RecipeTest, RulesApplyToTheirKind) {
  const Recipe recipe = parse_recipe(R"({
    // a comment
    "about": "x", "rounding": "plain", "bits": 3, "group": 32,
    "kinds": {"router": {"bits": 8, "group": 64}, "experts_down": {"at_least": 4},
              "attention_qk": {"at_least": 2}}
  })",
                                     "recipe", {});
  EXPECT_EQ(recipe.rounding, Recipe::Rounding::kPlain);
  EXPECT_TRUE(format(recipe, "model.layers.1.mlp.gate") == (MlxFormat{8, 64}));
  EXPECT_TRUE(format(recipe, "model.layers.1.mlp.switch_mlp.down_proj") == (MlxFormat{4, 32}));
  EXPECT_TRUE(format(recipe, "model.layers.1.mlp.switch_mlp.up_proj") == (MlxFormat{3, 32}));
  EXPECT_TRUE(format(recipe, "model.layers.1.self_attn.k_proj") == (MlxFormat{3, 32}));
  EXPECT_FALSE(recipe.format_of("model.layers.1.self_attn.k_proj", 48));
  EXPECT_FALSE(recipe.format_of("model.layers.1.mlp.gate", 96));
}

TEST(RecipeTest, TheCommandLineOverridesTheDefaultAlone) {
  const Recipe recipe = parse_recipe(R"({"bits": 3, "group": 128, "kinds": {"head": {"bits": 6}}})",
                                     "recipe", {5, 32});
  EXPECT_TRUE(format(recipe, "lm_head") == (MlxFormat{6, 32}));
  EXPECT_TRUE(format(recipe, "model.layers.0.mlp.up_proj") == (MlxFormat{5, 32}));
}

TEST(RecipeTest, GroupsShrinkToFit) {
  const Recipe recipe = parse_recipe(R"({"group": 128})", "recipe", {});
  EXPECT_TRUE(format(recipe, "lm_head", 192) == (MlxFormat{4, 64}));
  EXPECT_TRUE(format(recipe, "lm_head", 96) == (MlxFormat{4, 32}));
  EXPECT_FALSE(recipe.format_of("lm_head", 48));
}

TEST(RecipeTest, BuiltInOnesAreGood) {
  for (const std::string& name : built_in_recipe_names()) {
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      SCOPED_TRACE(name);
      ASSERT_NE(built_in_recipe(name, bits), nullptr);
      const Recipe recipe = parse_recipe(built_in_recipe(name, bits), name, {bits, {}});
      EXPECT_EQ(recipe.format.bits, bits);
      EXPECT_EQ(format(recipe, "layers.3.mlp.gate").bits, 8);
      EXPECT_EQ(format(recipe, "layers.3.mlp.switch_mlp.up_proj").bits, bits);
      if (name == "mixed") continue;
      EXPECT_EQ(format(recipe, "layers.3.self_attn.o_proj").bits, bits);
      EXPECT_EQ(format(recipe, "model.embed_tokens").group, 64);
    }
  }
  EXPECT_EQ(built_in_recipe("best", 4), nullptr);
}

TEST(RecipeTest, NamesWhatIsWrong) {
  for (const auto& [text, part] :
       {std::pair{"[]", "no JSON object"},
        {"{", "no JSON object"},
        {R"({"bits": 7})", "`bits` is 7"},
        {R"({"group": "64"})", "`group`"},
        {R"({"rounding": "up"})", "plain or fitted"},
        {R"({"kind": {}})", "`kind`"},
        {R"({"kinds": {"experts": {}}})", "`experts` is no kind"},
        {R"({"kinds": {"head": 4}})", "`head`"},
        {R"({"kinds": {"head": {"bit": 4}}})", "`head.bit`"},
        {R"({"kinds": {"head": {"at_least": 9}}})", "`head.at_least`"}}) {
    try {
      parse_recipe(text, "file.json", {});
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_TRUE(std::string(error.what()).starts_with("file.json: "));
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace flashmoe::convert

// Templates of real models against jinja2's output, the marks of the output, and the loader. The
// goldens are made by tools/golden_templates.py.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"

namespace flashmoe::text {
namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

ordered_json read_golden(const std::string& name) {
  return ordered_json::parse(
      read(fs::path(FLASHMOE_SOURCE_DIR) / "tests" / "golden" / "templates" / name));
}

std::string fnv1a(const std::string& text) {
  uint64_t value = 0xcbf29ce484222325;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{:016x}", value);
}

RenderOptions frozen_time() {
  RenderOptions options;
  options.now = [] {  // Monday 2025-02-03 14:05:06
    std::tm now{};
    now.tm_year = 125;
    now.tm_mon = 1;
    now.tm_mday = 3;
    now.tm_hour = 14;
    now.tm_min = 5;
    now.tm_sec = 6;
    now.tm_wday = 1;
    now.tm_yday = 33;
    return now;
  };
  return options;
}

// The output of each conversation, or "raises".
TEST(ChatTemplate, RendersTheTemplatesOfModelsAsJinja2Does) {
  const fs::path folder = fs::path(FLASHMOE_SOURCE_DIR) / ".." / "shared" / "chat-templates";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not there";
  const ordered_json conversations = read_golden("conversations.json");
  const ordered_json golden = read_golden("rendered.json");
  size_t compared = 0;
  for (const auto& [name, row] : golden.items()) {
    const std::string source = read(folder / name);
    for (const auto& [conversation, expected] : row.items()) {
      std::string result, reason;
      try {
        const auto chat = ChatTemplate::parse(source, name);
        reason = chat.render(conversations.at(conversation), frozen_time()).text;
        result = fnv1a(reason);
      } catch (const Error& error) {
        result = "raises";
        reason = error.what();
      }
      EXPECT_EQ(result, expected.get<std::string>())
          << name << ", " << conversation << ": " << reason;
      ++compared;
    }
  }
  EXPECT_GE(compared, 8 * golden.size());
}

TEST(ChatTemplate, FeaturesRenderAsInJinja2) {
  const ordered_json golden = read_golden("features.json");
  for (const auto& feature : golden.at("features")) {
    const std::string name = feature.at("name");
    std::string output;
    bool raised = false;
    try {
      const auto chat = ChatTemplate::parse(feature.at("template"), name);
      output = chat.render(golden.at("variables"), frozen_time()).text;
    } catch (const Error& error) {
      raised = true;
      output = error.what();
    }
    EXPECT_EQ(raised, feature.contains("raises")) << name << ": " << output << "\n"
                                                  << feature.dump();
    if (!raised && feature.contains("output")) {
      EXPECT_EQ(output, feature.at("output").get<std::string>()) << name;
    }
  }
}

class Loader : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  std::string load(bool with_tools) {
    const auto loaded = load_chat_template(folder_, with_tools);
    return loaded ? loaded->chat_template.render(loaded->tokens).text : "none";
  }
  fs::path folder_;
};

TEST_F(Loader, WithoutTemplate) {
  EXPECT_EQ(load(false), "none");
  write("tokenizer_config.json", R"({"bos_token": "<s>", "chat_template": null})");
  EXPECT_EQ(load(true), "none");
}

TEST_F(Loader, TemplateAndTokensOfTheTokenizerConfiguration) {
  write("tokenizer_config.json",
        R"({"chat_template": "{{ bos_token }}A{{ eos_token }}{{ pad_token }}{{ add_bos_token }}",
            "bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false},
            "pad_token": null, "add_bos_token": true})");
  EXPECT_EQ(load(false), "<s>A</s>");
}

TEST_F(Loader, NamedTemplates) {
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "D"},
                                     {"name": "tool_use", "template": "T"}]})");
  EXPECT_EQ(load(false), "D");
  EXPECT_EQ(load(true), "T");
}

TEST_F(Loader, AFileComesFirst) {
  write("tokenizer_config.json", R"({"chat_template": "C", "bos_token": "<s>"})");
  write("chat_template.jinja", "{{ bos_token }}F");
  EXPECT_EQ(load(false), "<s>F");
  EXPECT_EQ(load(true), "<s>F");
  write("additional_chat_templates/tool_use.jinja", "T");
  EXPECT_EQ(load(false), "<s>F");
  EXPECT_EQ(load(true), "T");
}

TEST_F(Loader, NamesTheFileOfAnError) {
  write("chat_template.jinja", "{% if %}");
  try {
    load(false);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_NE(std::string(error.what()).find("chat_template.jinja: line 1"), std::string::npos);
  }
  write("tokenizer_config.json", "{");
  EXPECT_THROW(load(false), Error);
}

}  // namespace
}  // namespace flashmoe::text

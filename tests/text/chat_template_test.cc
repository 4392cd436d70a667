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
  for (const auto& feature : read_golden("features.json")) {
    const std::string name = feature.at("name");
    std::string output;
    bool raised = false;
    try {
      const auto chat = ChatTemplate::parse(feature.at("template"), name);
      output = chat.render(feature.at("variables"), frozen_time()).text;
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

}  // namespace
}  // namespace flashmoe::text

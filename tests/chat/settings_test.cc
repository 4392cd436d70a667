#include "chat/settings.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace flashmoe::chat {
namespace {

TEST(SettingsTest, BecomeFieldsOfTheRequest) {
  Settings settings;
  settings.set("temperature", "0.5");
  settings.set("max_tokens", "100");
  settings.set("seed", "7");
  EXPECT_EQ(settings.request.dump(), R"({"temperature":0.5,"max_tokens":100,"seed":7})");
  settings.set("seed", "default");
  EXPECT_FALSE(settings.request.contains("seed"));
  settings.set("reasoning", "off");
  EXPECT_EQ(settings.reasoning, (text::Thinking{false, 0}));
  settings.set("reasoning", "400");
  EXPECT_EQ(settings.reasoning, (text::Thinking{true, 400}));
  EXPECT_NE(settings.list().find("reasoning            400"), std::string::npos);
  settings.set("reasoning", "default");
  EXPECT_EQ(settings.reasoning, text::Thinking());
  settings.set("show-think", "dim");
  EXPECT_EQ(settings.show_think, ShowThink::kDim);
  EXPECT_NE(settings.list().find("show-think           dim"), std::string::npos);
  EXPECT_NE(settings.list().find("temperature          0.5"), std::string::npos);
}

TEST(SettingsTest, RefusesWhatIsImpossible) {
  Settings settings;
  for (const auto& [name, value] : {std::pair{"temperature", "-1"},
                                    {"temperature", "nan"},
                                    {"top_p", "1.1"},
                                    {"top_k", "1.5"},
                                    {"max_tokens", "0"},
                                    {"seed", ""},
                                    {"seed", "3x"},
                                    {"reasoning", "maybe"},
                                    {"reasoning", "-1"},
                                    {"reasoning", "5x"},
                                    {"show-think", "loud"},
                                    {"colour", "red"}}) {
    EXPECT_THROW(settings.set(name, value), Error) << name << " " << value;
  }
  EXPECT_TRUE(settings.request.empty());
}

}  // namespace
}  // namespace flashmoe::chat

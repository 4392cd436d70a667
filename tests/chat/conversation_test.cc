#include "chat/conversation.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace flashmoe::chat {
namespace {

class ConversationTest : public testing::Test {
 protected:
  static Conversation example() {
    Conversation conversation;
    conversation.model = "tiny";
    conversation.set_system("Be kind.");
    conversation.messages.push_back({{"role", "user"}, {"content", "Two\nlines, ünïcode"}});
    conversation.messages.push_back(
        {{"role", "assistant"},
         {"content", ""},
         {"tool_calls",
          {{{"id", "c1"}, {"function", {{"name", "f"}, {"arguments", "{\"b\":1,\"a\":2}"}}}}}}});
    conversation.messages.push_back(
        {{"role", "tool"}, {"tool_call_id", "c1"}, {"content", "\xff is no UTF-8"}});
    return conversation;
  }

  TempFolder folder_;
  const ConversationStore store_{folder_.path() + "/deep/sessions"};
};

TEST_F(ConversationTest, ComesBackAsItWas) {
  Conversation conversation = example();
  store_.save(&conversation);
  ASSERT_FALSE(conversation.id.empty());
  const Conversation loaded = store_.load(conversation.id);
  EXPECT_EQ(loaded.id, conversation.id);
  EXPECT_EQ(loaded.model, "tiny");
  EXPECT_EQ(loaded.begun_s, conversation.begun_s);
  ASSERT_EQ(loaded.messages.size(), 4u);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(loaded.messages[i].dump(), conversation.messages[i].dump());
  EXPECT_EQ(loaded.messages[3]["content"], "\xef\xbf\xbd is no UTF-8");
  EXPECT_EQ(*loaded.system(), "Be kind.");
  EXPECT_EQ(loaded.title(), "Two lines, ünïcode");
}

TEST_F(ConversationTest, EachHasAFileOfItsOwn) {
  Conversation a = example(), b = example();
  store_.save(&a);
  store_.save(&b);
  EXPECT_NE(a.id, b.id);
  a.messages.push_back({{"role", "user"}, {"content", "more"}});
  store_.save(&a);
  EXPECT_EQ(store_.load(a.id).messages.size(), 5u);
  EXPECT_EQ(store_.load(b.id).messages.size(), 4u);
  const auto entries = store_.list();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].title, "Two lines, ünïcode");
}

TEST_F(ConversationTest, IsFoundByIdAndByFile) {
  Conversation conversation = example();
  store_.save(&conversation);
  const std::string file = conversation.id + ".jsonl";
  for (const std::string& name : {conversation.id, file, store_.folder() + "/" + file,
                                  store_.folder() + "/../sessions/" + file}) {
    const Conversation loaded = store_.load(name);
    EXPECT_EQ(loaded.id, conversation.id) << name;
    EXPECT_EQ(loaded.messages.size(), conversation.messages.size());
  }
}

TEST_F(ConversationTest, OneFromElsewhereGetsAFileOfItsOwn) {
  Conversation conversation = example();
  store_.save(&conversation);
  const std::string kept = store_.folder() + "/" + conversation.id + ".jsonl";
  const std::string name = conversation.id + ".jsonl";
  std::filesystem::copy_file(kept, folder_.path() + "/" + name);
  Conversation copy = store_.load(folder_.path() + "/" + name);
  EXPECT_EQ(copy.id, "");
  store_.save(&copy);
  EXPECT_NE(copy.id, conversation.id);
  // Also by its bare name, where one stands: it goes before the one that is kept.
  const std::filesystem::path here = std::filesystem::current_path();
  std::filesystem::current_path(folder_.path());
  copy = store_.load(name);
  const Conversation by_id = store_.load(conversation.id);
  std::filesystem::current_path(here);
  EXPECT_EQ(copy.id, "");
  EXPECT_EQ(copy.messages.size(), conversation.messages.size());
  EXPECT_EQ(by_id.id, conversation.id);
}

TEST_F(ConversationTest, SystemMessage) {
  Conversation conversation;
  EXPECT_EQ(conversation.system(), nullptr);
  conversation.set_system("a");
  conversation.set_system("b");
  EXPECT_EQ(conversation.messages.size(), 1u);
  EXPECT_EQ(*conversation.system(), "b");
  conversation.set_system("");
  EXPECT_TRUE(conversation.messages.empty());
  EXPECT_EQ(conversation.title(), "");
}

TEST_F(ConversationTest, CutsTitlesBetweenCharacters) {
  Conversation conversation;
  std::string text = "x";
  for (int i = 0; i < 60; ++i) text += "ü";
  conversation.messages.push_back({{"role", "user"}, {"content", text}});
  EXPECT_EQ(conversation.title(), text.substr(0, 69) + "…");
}

TEST_F(ConversationTest, SaysWhatIsWrongWithAFile) {
  for (const std::string& name : {std::string("none"), std::string("none.jsonl"), std::string(),
                                  std::string("/no/such/file"), folder_.path()}) {
    try {
      store_.load(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kNotFound) << name;
      EXPECT_NE(std::string(error.what()).find("--sessions"), std::string::npos) << error.what();
    }
  }
  const std::string path = folder_.path() + "/bad.jsonl";
  for (const char* text : {"", "x\n", "{}\n", "[]\n",
                           "{\"kind\":\"flashmoe conversation\"}\n{\"content\":\"no role\"}\n",
                           "{\"kind\":\"flashmoe conversation\"}\nhalf a line"}) {
    std::ofstream(path) << text;
    EXPECT_THROW(store_.load(path), Error) << text;
  }
}

}  // namespace
}  // namespace flashmoe::chat

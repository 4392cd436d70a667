#include "chat/tools.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace flashmoe::chat {
namespace {

class ToolsTest : public testing::Test {
 protected:
  std::string write(const std::string& text) {
    const std::string path = folder_.path() + "/tools.json";
    std::ofstream(path) << text;
    return path;
  }
  std::string call(const std::string& name, const std::string& arguments) {
    return tools_.call(name, arguments,
                       [&](const std::string& command) {
                         asked_ = command;
                         return allow_;
                       },
                       {});
  }

  TempFolder folder_;
  ToolBox tools_;
  std::string asked_;
  bool allow_ = true;
};

constexpr char kTools[] = R"([
  {"name": "greet", "description": "Greets.", "command": ["printf", "%s-%s", "{who}", "{times}"],
   "parameters": {"type": "object", "required": ["who"],
                  "properties": {"who": {"type": "string"}, "times": {"type": "integer"}}}},
  {"name": "input", "command": ["cat"], "ask": false}])";

TEST_F(ToolsTest, TheShellAsksBeforeEachCommand) {
  tools_.set_shell(true);
  EXPECT_EQ(call("shell", R"({"command": "echo 4 2"})"), "4 2\n");
  EXPECT_EQ(asked_, "echo 4 2");
  allow_ = false;
  EXPECT_EQ(call("shell", R"({"command": "echo no"})"), "[the user did not allow this command]");
  tools_.set_shell(false);
  EXPECT_TRUE(tools_.empty());
}

TEST_F(ToolsTest, CommandsOfAFileGetTheirArguments) {
  tools_.load(write(kTools));
  EXPECT_EQ(call("greet", R"({"who": "a b; rm x", "times": 3})"), "a b; rm x-3");
  EXPECT_EQ(asked_, "printf %s-%s \"a b; rm x\" 3");
  EXPECT_EQ(call("greet", R"({"who": "{times}"})"), "{times}-");
  asked_.clear();
  EXPECT_EQ(call("input", R"({"x":[1]})"), "{\"x\":[1]}\n");
  EXPECT_EQ(asked_, "");
}

TEST_F(ToolsTest, DeclaresThemAsTheApiWantsThem) {
  tools_.load(write(kTools));
  tools_.set_shell(true);
  const Json list = tools_.declarations();
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0]["function"]["name"], "shell");
  EXPECT_EQ(list[1]["type"], "function");
  EXPECT_EQ(list[1]["function"]["parameters"]["required"][0], "who");
  EXPECT_FALSE(list[1].contains("command"));
}

TEST_F(ToolsTest, TellsTheModelWhatIsWrongWithACall) {
  tools_.load(write(kTools));
  EXPECT_EQ(call("other", "{}"), "[there is no tool named other]");
  EXPECT_EQ(call("greet", "{\"who"), "[the arguments are no JSON object]");
  EXPECT_EQ(call("greet", ""), "[the argument who is missing]");
}

TEST_F(ToolsTest, RefusesFilesThatMakeNoSense) {
  for (const char* text :
       {"", "{}", "[1]", R"([{"name": "x"}])", R"([{"command": ["x"]}])",
        R"([{"name": 3, "command": ["x"]}])", R"([{"name": "x", "command": "x"}])",
        R"([{"name": "x", "command": ["x"], "timeout_s": -1}])",
        R"([{"name": "x", "command": ["x"], "parameters": 7}])",
        R"([{"name": "shell", "command": ["x"]}])",
        R"([{"name": "x", "command": ["x"]}, {"name": "x", "command": ["y"]}])"}) {
    EXPECT_THROW(ToolBox().load(write(text)), Error) << text;
  }
  EXPECT_THROW(tools_.load(folder_.path() + "/none"), Error);
}

}  // namespace
}  // namespace flashmoe::chat

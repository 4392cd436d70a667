#include "eval/tasks.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace flashmoe::eval {
namespace {

Task task(Json want) { return {"k", {}, std::move(want)}; }

constexpr const char* kCall =
    "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>";

TEST(TasksTest, ReadsLines) {
  const std::vector<Task> tasks = parse_tasks(
      "{\"kind\": \"a\", \"messages\": [{\"role\": \"user\"}], \"want\": \"x\", \"tools\": []}\n\n"
      "{\"want\": {\"b\": 2}, \"kind\": \"b\", \"messages\": [1], \"more\": 0, \"tools\": "
      "null}\r\n",
      "file");
  ASSERT_EQ(tasks.size(), 2u);
  EXPECT_EQ(tasks[0].kind, "a");
  EXPECT_EQ(tasks[0].variables.dump(), R"({"messages":[{"role":"user"}],"tools":[]})");
  EXPECT_EQ(tasks[0].want, "x");
  EXPECT_FALSE(tasks[1].variables.contains("tools"));
}

TEST(TasksTest, NamesBadLines) {
  for (const std::string bad :
       {"{\"kind\": \"a\"", "[]", "{\"kind\": 1, \"messages\": [1], \"want\": \"\"}",
        "{\"kind\": \"a\", \"messages\": [], \"want\": \"\"}",
        "{\"kind\": \"a\", \"messages\": [1]}", "{\"kind\": \"a\", \"messages\": [1], \"want\": 3}",
        "{\"kind\": \"a\", \"messages\": [1], \"want\": \"\", \"tools\": {}}"}) {
    try {
      parse_tasks("\n" + bad, "file");
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
      EXPECT_TRUE(std::string(error.what()).starts_with("file:2: ")) << error.what();
    }
  }
  EXPECT_THROW(parse_tasks(" \n", "file"), Error);
}

TEST(TasksTest, TextMustBeExact) {
  EXPECT_TRUE(is_right(task("4 + 4 = 8"), " 4 + 4 = 8\n"));
  EXPECT_TRUE(is_right(task("8"), "<think>\nhm</think>\n\n8"));
  EXPECT_FALSE(is_right(task("8"), "8."));
  EXPECT_FALSE(is_right(task("8"), ""));
  EXPECT_TRUE(is_right(task(kCall), kCall));
  EXPECT_FALSE(is_right(task(kCall), std::string(kCall) + kCall));
}

TEST(TasksTest, WantedJsonIsCompared) {
  const Json call = Json::parse(R"({"arguments": {"a": 1}, "name": "f"})");
  EXPECT_TRUE(is_right(task(call), kCall));
  EXPECT_TRUE(is_right(task(Json::array({call})), kCall));
  EXPECT_TRUE(is_right(task(Json::array({call, call})), std::string(kCall) + "\n" + kCall));
  EXPECT_FALSE(is_right(task(call), std::string(kCall) + "\n" + kCall));
  EXPECT_FALSE(is_right(task(call), "<tool_call>{\"name\": \"f\"}</tool_call>"));
  EXPECT_TRUE(is_right(task(Json::parse("{\"a\": [1]}")), "{ \"a\":[1] }"));
  EXPECT_FALSE(is_right(task(Json::parse("{\"a\": [1]}")), "{\"a\": [1]"));
}

TEST(TasksTest, JudgesJson) {
  EXPECT_EQ(has_valid_json(task("8"), "8"), std::nullopt);
  EXPECT_EQ(has_valid_json(task(kCall), kCall), true);
  EXPECT_EQ(has_valid_json(task(kCall), "I cannot."), false);
  EXPECT_EQ(has_valid_json(task("8"), kCall), true);
  for (const char* bad : {"<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}</tool_call>",
                          "<tool_call>{\"name\": \"f\", \"arguments\": 1}</tool_call>",
                          "<tool_call>{\"name\": 2, \"arguments\": {}}</tool_call>", "<tool_call>",
                          "<tool_call>[]"}) {
    EXPECT_EQ(has_valid_json(task(kCall), bad), false) << bad;
    EXPECT_EQ(has_valid_json(task("8"), bad), false) << bad;
  }
  EXPECT_EQ(has_valid_json(task("{\"a\": 1}"), "{\"a\": 2}"), true);
  EXPECT_EQ(has_valid_json(task("{\"a\": 1}"), "{\"a\": 2"), false);
  EXPECT_EQ(has_valid_json(task(Json::object()), "so be it"), false);
}

}  // namespace
}  // namespace flashmoe::eval

#include "server/call_memory.h"

#include <gtest/gtest.h>

#include <string>

namespace flashmoe::server {
namespace {

// What becomes of a call's arguments in a history.
Json restored(const CallMemory& memory, CallMemory::Form form, const std::string& id,
              const Json& arguments) {
  Json messages = Json::parse(R"([{"role": "user", "content": "q"},
    {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}])");
  Json& call = messages[1]["tool_calls"][0];
  call["id"] = id;
  call["function"]["arguments"] = arguments;
  memory.restore(form, &messages);
  return messages[1]["tool_calls"][0]["function"]["arguments"];
}

TEST(CallMemoryTest, GivesBackTheModelsOwnText) {
  CallMemory memory;
  memory.remember({"abc", R"({"n":  1.50})", ""});
  const Json object = {{"n", 1.5}};
  for (const char* id : {"abc", "call_abc", "toolu_abc"}) {
    EXPECT_EQ(restored(memory, CallMemory::Form::kText, id, object), Json(R"({"n":  1.50})"));
  }
  EXPECT_EQ(restored(memory, CallMemory::Form::kNone, "abc", object), object);
  EXPECT_EQ(restored(memory, CallMemory::Form::kSpelled, "abc", object), object);
}

TEST(CallMemoryTest, GivesBackSpelledArgumentsInTheirOrder) {
  CallMemory memory;
  memory.remember({"1", R"({"b": true, "n": 1.50})", R"({"b":"True","n":"1.50"})"});
  const Json got =
      restored(memory, CallMemory::Form::kSpelled, "call_1", {{"n", 1.5}, {"b", true}});
  EXPECT_EQ(got.dump(), R"({"b":"True","n":"1.50"})");
}

TEST(CallMemoryTest, LeavesWhatTheModelDidNotWrite) {
  CallMemory memory;
  memory.remember({"1", R"({"n": 1})", ""});
  memory.remember({"2", R"({"n": )", ""});  // broken off
  const Json other = {{"n", 2}};
  EXPECT_EQ(restored(memory, CallMemory::Form::kText, "call_1", other), other);
  EXPECT_EQ(restored(memory, CallMemory::Form::kText, "call_2", other), other);
  EXPECT_EQ(restored(memory, CallMemory::Form::kText, "call_3", other), other);
  EXPECT_EQ(restored(memory, CallMemory::Form::kText, "call_1", "{}"), "{}");
}

TEST(CallMemoryTest, ForgetsTheOldestAndTheLongest) {
  CallMemory memory;
  const Json object = {{"n", 1}};
  const std::string text = R"({"n" : 1})";
  memory.remember({"long", R"({"n": 1)" + std::string(1 << 20, ' ') + "}", ""});
  EXPECT_EQ(restored(memory, CallMemory::Form::kText, "long", object), object);
  for (int i = 0; i < 10'000; ++i) memory.remember({std::to_string(i), text, ""});
  EXPECT_EQ(restored(memory, CallMemory::Form::kText, "0", object), object);
  EXPECT_EQ(restored(memory, CallMemory::Form::kText, "9999", object), Json(text));
}

}  // namespace
}  // namespace flashmoe::server

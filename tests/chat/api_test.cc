#include "chat/api.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"

namespace flashmoe::chat {
namespace {

std::vector<Json> events(Api& api, const std::function<bool()>& stop = {}) {
  std::vector<Json> seen;
  api.stream(
      "/v1/chat/completions", {{"x", 1}}, [&](const Json& e) { seen.push_back(e); }, stop);
  return seen;
}

TEST(LocalApiTest, StreamsFromAnotherThread) {
  std::thread answering;
  const auto api = make_local_api([&](std::shared_ptr<http::Exchange> exchange) {
    EXPECT_EQ(exchange->request().body, "{\"x\":1}");
    answering = std::thread([exchange] {
      exchange->begin_stream({});
      for (const char* piece : {"data: {\"a\":1}\n\nda", "ta: {\"a\":2}\n\n", "data: [DONE]\n\n"}) {
        exchange->write(piece);
      }
      exchange->finish_stream();
    });
  });
  const std::vector<Json> seen = events(*api);
  answering.join();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[1]["a"], 2);
}

TEST(LocalApiTest, GetsJson) {
  const auto api = make_local_api([&](std::shared_ptr<http::Exchange> exchange) {
    EXPECT_EQ(exchange->request().path, "/stats");
    exchange->respond({.body = "{\"tok_s\":3}"});
  });
  EXPECT_EQ(api->get("/stats")["tok_s"], 3);
}

TEST(LocalApiTest, TellsTheServersMessage) {
  const auto api = make_local_api([&](std::shared_ptr<http::Exchange> exchange) {
    exchange->respond({.status = 400, .body = R"({"error":{"message":"too long"}})"});
  });
  try {
    events(*api);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "too long");
  }
  const auto dropping = make_local_api([&](std::shared_ptr<http::Exchange>) {});
  EXPECT_THROW(events(*dropping), Error);
  const auto failing = make_local_api([&](std::shared_ptr<http::Exchange> exchange) {
    exchange->begin_stream({});
    exchange->write("data: {\"error\":{\"message\":\"disk\"}}\n\n");
    exchange->finish_stream();
  });
  EXPECT_THROW(events(*failing), Error);
}

TEST(LocalApiTest, AStopCancelsTheAnswer) {
  std::shared_ptr<http::Exchange> kept;
  bool cancelled = false;
  const auto api = make_local_api([&](std::shared_ptr<http::Exchange> exchange) {
    kept = exchange;
    kept->on_cancel([&] { cancelled = true; });
    kept->begin_stream({});
  });
  try {
    events(*api, [] { return true; });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
  EXPECT_TRUE(cancelled);
}

}  // namespace
}  // namespace flashmoe::chat

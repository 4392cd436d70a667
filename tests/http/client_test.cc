#include "http/client.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "http/server.h"
#include "tests/http/raw_socket.h"

namespace flashmoe::http {
namespace {

class ClientTest : public testing::Test {
 protected:
  ClientTest() : server_(server_options(), [](const auto& exchange) { answer(exchange); }) {}

  static ServerOptions server_options() {
    ServerOptions options;
    options.port = 0;
    return options;
  }
  static void answer(const std::shared_ptr<Exchange>& exchange) {
    const Request& request = exchange->request();
    if (request.path == "/base/events") {
      exchange->begin_stream({200, "text/event-stream"});
      for (int i = 0; i < 3; ++i) exchange->write(sse_text(std::to_string(i), "n"));
      exchange->finish_stream();
    } else if (request.path == "/base/many") {
      exchange->begin_stream({200, "text/event-stream"});
      for (int i = 0; i < 20'000; ++i) exchange->write(sse_text("and more"));
      exchange->finish_stream();
    } else if (request.path == "/base/cut") {
      exchange->begin_stream({200, "text/event-stream"});
      exchange->write(sse_text("0"));
    } else if (request.path == "/base/never") {
      static std::shared_ptr<Exchange> kept;
      kept = exchange;
    } else {
      const std::string* key = find_header(request.headers, "x-key");
      exchange->respond({request.path == "/base/echo" ? 200 : 404, "text/plain",
                         request.method + request.body + (key ? *key : "")});
    }
  }
  Url url() const { return {"127.0.0.1", std::to_string(server_.port()), "/base"}; }

  Server server_;
};

TEST_F(ClientTest, Sends) {
  const Client client(url());
  const Response response = client.send({"POST", "/echo", "{}", {{"x-key", "k"}}});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "text/plain");
  EXPECT_EQ(response.body, "POST{}k");
  EXPECT_EQ(client.send({"GET", "/elsewhere"}).status, 404);
  EXPECT_EQ(client.send({"HEAD", "/echo"}).body, "");
}

TEST_F(ClientTest, ReadsEvents) {
  std::vector<SseEvent> events;
  const auto keep = [&](const SseEvent& event) {
    events.push_back(event);
    return true;
  };
  EXPECT_EQ(Client(url()).stream({"POST", "/events", "{}"}, keep).status, 200);
  EXPECT_EQ(events, (std::vector<SseEvent>{{"n", "0"}, {"n", "1"}, {"n", "2"}}));
  EXPECT_EQ(Client(url()).stream({"GET", "/elsewhere"}, keep).body, "GET");
  EXPECT_EQ(events.size(), 3u);
}

TEST_F(ClientTest, AStreamThatBreaksOffIsAnError) {
  EXPECT_THROW(Client(url()).stream({"GET", "/cut"}, [](const SseEvent&) { return true; }), Error);
}

TEST_F(ClientTest, LeavesWhenAskedTo) {
  const auto code = [&](const Client::Options& options) {
    try {
      Client(url(), options).send({"GET", "/never"});
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kUsage;
  };
  Client::Options stopped;
  stopped.stop = [] { return true; };
  EXPECT_EQ(code(stopped), ErrorCode::kCancelled);
  Client::Options impatient;
  impatient.silence_timeout = std::chrono::milliseconds(50);
  EXPECT_EQ(code(impatient), ErrorCode::kIo);
}

TEST_F(ClientTest, LeavesAStreamThatNeverPauses) {
  int events = 0;
  Client::Options options;
  options.stop = [&] { return events > 0; };
  const auto count = [&](const SseEvent&) {
    ++events;
    return true;
  };
  EXPECT_THROW(Client(url(), options).stream({"GET", "/many"}, count), Error);
  EXPECT_LT(events, 20'000);
}

TEST(ClientAloneTest, SaysThatNobodyListens) {
  int port;
  {
    Server server({.port = 0}, [](const auto&) {});
    port = server.port();
  }
  EXPECT_THROW(Client({"127.0.0.1", std::to_string(port), ""}).send({}), Error);
}

}  // namespace
}  // namespace flashmoe::http

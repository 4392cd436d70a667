#include "http/server.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "tests/http/raw_socket.h"

namespace flashmoe::http {
namespace {

using std::chrono::milliseconds;
using Exchanges = std::shared_ptr<Exchange>;

// A value that another thread brings.
template <typename T>
T wait_for(std::promise<T>& promise) {
  std::future<T> future = promise.get_future();
  if (future.wait_for(std::chrono::seconds(20)) != std::future_status::ready) {
    ADD_FAILURE() << "nothing came in 20 s";
    return T();
  }
  return future.get();
}

void echo(const Exchanges& exchange) {
  const Request& request = exchange->request();
  exchange->respond({200, "text/plain", request.method + " " + request.path + " " + request.body});
}

ServerOptions options() {
  ServerOptions o;
  o.port = 0;
  return o;
}

std::string get(const std::string& path, const std::string& more = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + more + "\r\n";
}
std::string post(const std::string& body, const std::string& more = "") {
  return "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         more + "\r\n" + body;
}

// The status of the answer and whether the connection is closed after it.
std::string exchange_once(int port, const std::string& request) {
  RawSocket socket(port);
  socket.send(request);
  return socket.read_all().substr(0, 12);
}

TEST(ServerTest, AnswersSeveralRequestsOnAConnection) {
  Server server(options(), echo);
  RawSocket socket(server.port());
  socket.send(get("/a%20b?q=1"));
  EXPECT_TRUE(socket.read_until("GET /a b ").starts_with("HTTP/1.1 200 OK\r\n"));
  socket.send(post("body"));
  EXPECT_NE(socket.read_until("POST /p body").find("keep-alive"), std::string::npos);
  // Two at once: answered in turn.
  socket.send(post("first") + post("second", "Connection: close\r\n"));
  const std::string both = socket.read_all();
  EXPECT_LT(both.find("first"), both.find("second"));
  EXPECT_NE(both.find("connection: close"), std::string::npos);
}

TEST(ServerTest, ReadsChunksAndContinues) {
  Server server(options(), echo);
  RawSocket socket(server.port());
  socket.send(
      "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
      "Connection: close\r\n\r\n");
  EXPECT_EQ(socket.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  socket.send("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n");
  EXPECT_TRUE(socket.read_all().ends_with("POST /c abcde"));
}

TEST(ServerTest, AnswersHeadWithoutABody) {
  Server server(options(), echo);
  RawSocket socket(server.port());
  socket.send("HEAD /h HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answer = socket.read_all();
  EXPECT_NE(answer.find("content-length: 8\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
}

TEST(ServerTest, AnswersHttp10) {
  Server server(options(), echo);
  EXPECT_EQ(exchange_once(server.port(), "GET / HTTP/1.0\r\n\r\n"), "HTTP/1.1 200");
}

TEST(ServerTest, RefusesWhatIsNotARequest) {
  Server server(options(), echo);
  const int port = server.port();
  EXPECT_EQ(exchange_once(port, "\x16\x03\x01\x02\x00\x01 garbage\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(exchange_once(port, "GET nowhere HTTP/1.1\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(exchange_once(port, get("/%zz")), "HTTP/1.1 400");
  EXPECT_EQ(exchange_once(port, "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(
      exchange_once(port, "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
      "HTTP/1.1 400");
  EXPECT_EQ(exchange_once(port, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            "HTTP/1.1 400");
  EXPECT_EQ(server.stats().bad_requests, 6);
  EXPECT_EQ(exchange_once(port, get("/", "Connection: close\r\n")), "HTTP/1.1 200");
}

TEST(ServerTest, LimitsHeaders) {
  ServerOptions o = options();
  o.max_header_bytes = 1024;
  Server server(o, echo);
  EXPECT_EQ(exchange_once(server.port(), get("/", "X: " + std::string(2000, 'x') + "\r\n")),
            "HTTP/1.1 431");
  // Never a line break.
  EXPECT_EQ(exchange_once(server.port(), "GET /" + std::string(100'000, 'x')), "HTTP/1.1 431");
}

TEST(ServerTest, LimitsBodies) {
  ServerOptions o = options();
  o.max_body_bytes = 1000;
  Server server(o, echo);
  const int port = server.port();
  EXPECT_EQ(exchange_once(port, post(std::string(1001, 'x'))), "HTTP/1.1 413");
  EXPECT_EQ(exchange_once(port, "POST / HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n"),
            "HTTP/1.1 413");
  EXPECT_EQ(exchange_once(port, post(std::string(1000, 'x'), "Connection: close\r\n")),
            "HTTP/1.1 200");
  const std::string chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string body;
  for (int i = 0; i < 101; ++i) body += "a\r\n0123456789\r\n";
  EXPECT_EQ(exchange_once(port, chunked + body), "HTTP/1.1 413");
  EXPECT_EQ(exchange_once(port, chunked + "ffffffff\r\n"), "HTTP/1.1 413");
  // A chunk's extension without end.
  EXPECT_EQ(exchange_once(port, chunked + "1;" + std::string(100'000, 'x')), "HTTP/1.1 431");
}

// A client that goes on sending gets the answer nevertheless.
TEST(ServerTest, TheRefusalOfALongBodyArrives) {
  ServerOptions o = options();
  o.max_body_bytes = 1000;
  Server server(o, echo);
  RawSocket socket(server.port());
  socket.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
  for (int i = 0; i < 64 && socket.send(chunk); ++i) {
  }
  EXPECT_TRUE(socket.read_until("\r\n\r\n").starts_with("HTTP/1.1 413"));
}

TEST(ServerTest, LimitsTheTimeOfRequests) {
  ServerOptions o = options();
  o.header_timeout = o.body_timeout = o.idle_timeout = milliseconds(50);
  Server server(o, echo);
  const int port = server.port();
  EXPECT_EQ(exchange_once(port, "GET / HTTP/1.1\r\nHost:"), "HTTP/1.1 408");
  EXPECT_EQ(exchange_once(port, "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"), "HTTP/1.1 408");
  EXPECT_EQ(exchange_once(port, ""), "");                    // never began
  EXPECT_EQ(exchange_once(port, get("/")), "HTTP/1.1 200");  // and is closed when it is idle
}

TEST(ServerTest, LimitsConnections) {
  ServerOptions o = options();
  o.max_connections = 1;
  Server server(o, echo);
  RawSocket first(server.port());
  first.send(get("/"));
  first.read_until("GET / ");
  EXPECT_EQ(exchange_once(server.port(), get("/")), "HTTP/1.1 503");
  EXPECT_EQ(server.stats().refused, 1);
  first.send(get("/again"));
  first.read_until("/again");
}

// Keeps exchanges for the test to answer.
class Kept {
 public:
  Handler handler() {
    return [this](const Exchanges& exchange) {
      const std::lock_guard lock(mutex_);
      exchange_ = exchange;
      changed_.notify_all();
    };
  }
  Exchanges take() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [this] { return exchange_ != nullptr; });
    return std::exchange(exchange_, nullptr);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Exchanges exchange_;
};

TEST(ServerTest, Streams) {
  Kept kept;
  Server server(options(), kept.handler());
  RawSocket socket(server.port());
  socket.send(get("/s"));
  const Exchanges exchange = kept.take();
  exchange->begin_stream({200, "text/event-stream"});
  EXPECT_TRUE(exchange->write("one"));
  EXPECT_TRUE(socket.read_until("3\r\none\r\n").starts_with("HTTP/1.1 200"));
  EXPECT_TRUE(exchange->write("and two"));
  exchange->finish_stream();
  EXPECT_EQ(socket.read_until("0\r\n\r\n"), "7\r\nand two\r\n0\r\n\r\n");
  socket.send(get("/again"));
  kept.take()->respond({200, "text/plain", "fine"});
  socket.read_until("fine");
}

TEST(ServerTest, StreamsToHttp10UntilTheEnd) {
  Kept kept;
  Server server(options(), kept.handler());
  RawSocket socket(server.port());
  socket.send("GET / HTTP/1.0\r\n\r\n");
  const Exchanges exchange = kept.take();
  exchange->begin_stream({200, "text/event-stream"});
  exchange->write("one");
  exchange->finish_stream();
  EXPECT_TRUE(socket.read_all().ends_with("close\r\n\r\none"));
}

TEST(ServerTest, FillsTheSilenceOfAStream) {
  ServerOptions o = options();
  o.most_silence = milliseconds(10);
  Kept kept;
  Server server(o, kept.handler());
  RawSocket socket(server.port());
  socket.send(get("/s"));
  const Exchanges exchange = kept.take();
  exchange->begin_stream({200, "text/event-stream"});
  exchange->fill_silence(":\n\n");
  for (int i = 0; i < 3; ++i) socket.read_until("3\r\n:\n\n\r\n");
  EXPECT_TRUE(exchange->write("one"));
  socket.read_until("3\r\none\r\n");
  EXPECT_EQ(socket.read_until("3\r\n:\n\n\r\n"), "3\r\n:\n\n\r\n");
  exchange->finish_stream();
  socket.read_until("0\r\n\r\n");
  EXPECT_FALSE(socket.ended());
  // The next answer has nothing of it.
  socket.send(get("/again"));
  kept.take()->respond({200, "text/plain", "fine"});
  EXPECT_TRUE(socket.read_until("fine").starts_with("HTTP/1.1 200"));
}

TEST(ServerTest, NoticesClientsThatVanish) {
  for (const bool streaming : {false, true}) {
    for (const bool crashed : {false, true}) {
      Kept kept;
      Server server(options(), kept.handler());
      RawSocket socket(server.port());
      socket.send(get("/"));
      const Exchanges exchange = kept.take();
      if (streaming) {
        exchange->begin_stream({200, "text/event-stream"});
        exchange->write("one");
        socket.read_until("one");
      }
      std::promise<bool> cancelled;
      exchange->on_cancel([&] { cancelled.set_value(true); });
      crashed ? socket.reset() : socket.close();
      EXPECT_TRUE(wait_for(cancelled)) << streaming << crashed;
      EXPECT_FALSE(exchange->write("two"));
      EXPECT_EQ(server.stats().cancelled, 1);
    }
  }
}

TEST(ServerTest, AClientThatOnlyStopsSendingGetsAnAnswer) {
  Kept kept;
  Server server(options(), kept.handler());
  RawSocket socket(server.port());
  socket.send(get("/"));
  socket.close_sending_side();
  const Exchanges exchange = kept.take();
  std::promise<bool> cancelled;
  exchange->on_cancel([&] { cancelled.set_value(true); });
  EXPECT_TRUE(wait_for(cancelled));
  exchange->respond({200, "text/plain", "fine"});
  EXPECT_TRUE(socket.read_all().ends_with("fine"));
}

TEST(ServerTest, ASlowReadersQueueIsBounded) {
  ServerOptions o = options();
  o.max_queued_bytes = 100'000;
  Kept kept;
  Server server(o, kept.handler());
  RawSocket socket(server.port(), 4096);
  socket.send(get("/"));
  const Exchanges exchange = kept.take();
  std::promise<bool> cancelled;
  exchange->on_cancel([&] { cancelled.set_value(true); });
  exchange->begin_stream({200, "text/event-stream"});
  // What the system's buffers take is some megabytes at most.
  const std::string piece(10'000, 'x');
  int written = 0;
  while (written < 10'000 && exchange->write(piece)) ++written;
  EXPECT_LT(written, 10'000);
  EXPECT_TRUE(wait_for(cancelled));
}

TEST(ServerTest, AReaderThatStopsIsGivenUp) {
  ServerOptions o = options();
  o.max_queued_bytes = size_t{1} << 30;
  o.write_timeout = milliseconds(50);
  Kept kept;
  Server server(o, kept.handler());
  RawSocket socket(server.port(), 4096);
  socket.send(get("/"));
  const Exchanges exchange = kept.take();
  std::promise<bool> cancelled;
  exchange->on_cancel([&] { cancelled.set_value(true); });
  exchange->begin_stream({200, "text/event-stream"});
  exchange->write(std::string(64 << 20, 'x'));
  EXPECT_TRUE(wait_for(cancelled));
}

TEST(ServerTest, AnExchangeThatIsDroppedIsAnError) {
  Kept kept;
  Server server(options(), kept.handler());
  RawSocket socket(server.port());
  socket.send(get("/"));
  kept.take().reset();
  EXPECT_TRUE(socket.read_all().starts_with("HTTP/1.1 500"));
  RawSocket stream(server.port());
  stream.send(get("/"));
  Exchanges exchange = kept.take();
  exchange->begin_stream({200, "text/event-stream"});
  exchange->write("one");
  exchange.reset();
  EXPECT_TRUE(stream.read_all().ends_with("3\r\none\r\n"));  // without the last, empty chunk
}

TEST(ServerTest, ShutsDownWhenWhatRunsIsDone) {
  Kept kept;
  Server server(options(), kept.handler());
  RawSocket idle(server.port()), busy(server.port());
  busy.send(get("/"));
  const Exchanges exchange = kept.take();
  std::thread stopper([&] { server.shut_down(std::chrono::seconds(20)); });
  EXPECT_EQ(idle.read_all(), "");
  exchange->respond({200, "text/plain", "fine"});
  EXPECT_TRUE(busy.read_all().ends_with("fine"));
  busy.close();
  stopper.join();
}

TEST(ServerTest, ShutsDownWithoutWaitingForLong) {
  Kept kept;
  std::promise<bool> cancelled;
  RawSocket* socket = nullptr;
  {
    Server server(options(), kept.handler());
    socket = new RawSocket(server.port());
    socket->send(get("/"));
    Exchanges exchange = kept.take();
    exchange->on_cancel([&cancelled, exchange]() mutable {
      cancelled.set_value(true);
      exchange.reset();
    });
    exchange.reset();
  }
  EXPECT_TRUE(wait_for(cancelled));
  EXPECT_TRUE(socket->read_all().starts_with("HTTP/1.1 503"));
  delete socket;
}

TEST(ServerTest, TheLastWordsOfAStreamArrive) {
  Kept kept;
  Server server(options(), kept.handler());
  RawSocket socket(server.port());
  socket.send(get("/"));
  const Exchanges exchange = kept.take();
  exchange->begin_stream({200, "text/event-stream"});
  EXPECT_TRUE(exchange->write("one"));
  socket.read_until("3\r\none\r\n");
  exchange->on_cancel([&] {
    EXPECT_FALSE(exchange->write("sorry"));
    exchange->finish_stream();
  });
  server.shut_down(milliseconds(0));
  EXPECT_EQ(socket.read_all(), "5\r\nsorry\r\n0\r\n\r\n");
}

TEST(ServerTest, ExchangesMayOutliveTheServer) {
  Kept kept;
  Exchanges exchange;
  RawSocket* socket = nullptr;
  {
    Server server(options(), kept.handler());
    socket = new RawSocket(server.port());
    socket->send(get("/"));
    exchange = kept.take();
  }
  EXPECT_FALSE(exchange->write("x"));
  exchange->respond({200, "text/plain", "late"});
  EXPECT_EQ(socket->read_all(), "");
  delete socket;
}

TEST(ServerTest, SaysWhenThePortIsTaken) {
  Server server(options(), echo);
  ServerOptions o = options();
  o.port = server.port();
  try {
    Server second(o, echo);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("--port"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace flashmoe::http

// One client's connection to the server: reads requests, hands them on, writes answers, minds the
// time. Only for server.cc and connection.cc, which know the library beneath. Owns the socket; all
// but the exchange's methods run on the server's thread.
//
// Reading goes on while an answer is made: that is how a client that went away is noticed.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "http/server.h"

namespace flashmoe::http {

namespace asio = boost::asio;
namespace beast = boost::beast;

class Connection;

// The way back to the server's thread for exchanges, which may outlive the server.
class Loop {
 public:
  explicit Loop(asio::io_context* context) : context_(context) {}
  void post(std::function<void()> task);  // dropped after `close`
  void close();

 private:
  std::mutex mutex_;
  asio::io_context* context_;
};

class LiveExchange final : public Exchange {
 public:
  LiveExchange(Request request, std::weak_ptr<Connection> connection, std::shared_ptr<Loop> loop,
               size_t max_queued_bytes)
      : request_(std::move(request)),
        connection_(std::move(connection)),
        loop_(std::move(loop)),
        max_queued_bytes_(max_queued_bytes) {}
  ~LiveExchange() override;

  const Request& request() const override { return request_; }
  void respond(Response response) override;
  void begin_stream(Response head) override;
  void fill_silence(std::string text) override;
  bool write(std::string piece) override;
  void finish_stream() override;
  void on_cancel(std::function<void()> callback) override;

  // By the connection. False when it was answered or cancelled before.
  bool cancel();
  void written(size_t bytes) { queued_bytes_ -= bytes; }

 private:
  void post(std::function<void(Connection&)> task);

  const Request request_;
  const std::weak_ptr<Connection> connection_;
  const std::shared_ptr<Loop> loop_;
  const size_t max_queued_bytes_;
  std::atomic<size_t> queued_bytes_{0};
  std::atomic<bool> answered_{false};
  std::mutex mutex_;
  bool cancelled_ = false;           // under mutex_
  std::function<void()> on_cancel_;  // under mutex_
};

// What the connections share; the server's.
struct Hub {
  ServerOptions options;
  Handler handler;
  std::shared_ptr<Loop> loop;
  std::function<void(Connection*)> closed;  // the last that a connection says
  std::atomic<int64_t> bad_requests{0}, cancelled{0};
  bool shutting_down = false;  // the server's thread alone looks at it
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(asio::ip::tcp::socket socket, Hub& hub);

  void start();
  // Answers without having read anything, and closes.
  void refuse(int status, const std::string& message);
  // Ends after the answer at hand, at once if there is none.
  void wind_up();
  // The answer at hand is not wanted any more.
  void cancel();
  void close();

  // What the exchange asks for.
  void respond(const Response& response);
  void begin_stream(Response head);
  void fill_silence(const std::string& text);
  void append(const std::string& piece);
  void finish_stream();
  void abandon();  // it was dropped unanswered

 private:
  using Parser = beast::http::request_parser<beast::http::string_body>;
  enum class Stage {
    kIdle,       // waiting for a request to begin
    kReading,    // a request
    kAnswering,  // reading only to notice the client's end
    kClosing,    // all is said; what still comes is thrown away, so that the answer arrives
    kClosed,
  };

  void begin_request();
  void read();
  void on_read(beast::error_code error, size_t bytes);
  void parse();
  void on_header();
  void dispatch();
  void send_piece(const std::string& piece);
  void send(std::string text);
  void write();
  void on_written(beast::error_code error);
  void end_answer();
  void begin_closing();
  void set_deadline(std::chrono::milliseconds in);
  void clear_deadline();
  void on_deadline();

  Hub& hub_;
  asio::ip::tcp::socket socket_;
  asio::steady_timer deadline_;
  Stage stage_ = Stage::kIdle;
  beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  bool header_done_ = false;
  bool reading_ = false;  // an operation is under way
  bool writing_ = false;
  std::vector<std::string> queue_, in_flight_;
  // Of these, the bytes of the exchange's own pieces.
  size_t queued_piece_bytes_ = 0, in_flight_piece_bytes_ = 0;

  // The answer at hand.
  std::weak_ptr<LiveExchange> exchange_;
  bool keep_alive_ = false;
  bool head_only_ = false;  // the request was HEAD
  bool chunked_ = false;    // the client takes chunks: HTTP/1.1
  bool begun_ = false;      // something of it was sent
  bool finished_ = false;   // all of it is in the queue
  std::string filler_;      // for the silence of a stream; empty: none
  bool peer_closed_ = false;
};

}  // namespace flashmoe::http

#include "http/connection.h"

#include <fmt/format.h>

#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <utility>

namespace flashmoe::http {

namespace {

using asio::ip::tcp;

constexpr size_t kReadBytes = 16 << 10;
// How much of a next request is read while the one before is answered.
constexpr size_t kMaxAheadBytes = 64 << 10;
constexpr std::chrono::milliseconds kClosingTime{2'000};

int refusal_of(beast::error_code error) {
  if (error == beast::http::error::header_limit) return 431;
  if (error == beast::http::error::body_limit) return 413;
  return 400;
}

std::string refusal_message(int status, beast::error_code error, const ServerOptions& options) {
  if (status == 413) {
    return fmt::format("the body is longer than the limit of {} bytes", options.max_body_bytes);
  }
  if (status == 431) {
    return fmt::format("the headers are longer than the limit of {} bytes",
                       options.max_header_bytes);
  }
  return "this is not an HTTP request: " + error.message();
}

// "/path?query", also of "http://host/path?query"; nullopt if it is neither.
std::optional<std::string> origin_form(std::string target) {
  if (target.starts_with("http://") || target.starts_with("https://")) {
    const size_t slash = target.find('/', target.find("//") + 2);
    target = slash == std::string::npos ? "/" : target.substr(slash);
  }
  if (!target.starts_with('/') && target != "*") return std::nullopt;
  return target;
}

}  // namespace

void Loop::post(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  if (context_ != nullptr) asio::post(*context_, std::move(task));
}

void Loop::close() {
  const std::lock_guard lock(mutex_);
  context_ = nullptr;
}

// --- The exchange ---

LiveExchange::~LiveExchange() {
  if (!answered_) post([](Connection& connection) { connection.abandon(); });
}

void LiveExchange::post(std::function<void(Connection&)> task) {
  loop_->post([weak = connection_, task = std::move(task)] {
    if (const std::shared_ptr<Connection> connection = weak.lock()) task(*connection);
  });
}

void LiveExchange::respond(Response response) {
  if (answered_.exchange(true)) return;
  post([response = std::move(response)](Connection& connection) { connection.respond(response); });
}

void LiveExchange::begin_stream(Response head) {
  post([head = std::move(head)](Connection& connection) { connection.begin_stream(head); });
}

void LiveExchange::fill_silence(std::string text) {
  post([text = std::move(text)](Connection& connection) { connection.fill_silence(text); });
}

bool LiveExchange::write(std::string piece) {
  const size_t bytes = piece.size();
  if ((queued_bytes_ += bytes) > max_queued_bytes_) {
    cancel();
    post([](Connection& connection) { connection.close(); });
    return false;
  }
  post([piece = std::move(piece)](Connection& connection) { connection.append(piece); });
  const std::lock_guard lock(mutex_);
  return !cancelled_;
}

void LiveExchange::finish_stream() {
  if (answered_.exchange(true)) return;
  post([](Connection& connection) { connection.finish_stream(); });
}

void LiveExchange::on_cancel(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!cancelled_) {
      on_cancel_ = std::move(callback);
      return;
    }
  }
  callback();
}

bool LiveExchange::cancel() {
  if (answered_) return false;
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_) return false;
    cancelled_ = true;
    callback = std::move(on_cancel_);
  }
  if (callback) callback();
  return true;
}

// --- The connection ---

Connection::Connection(tcp::socket socket, Hub& hub)
    : hub_(hub), socket_(std::move(socket)), deadline_(socket_.get_executor()) {
  beast::error_code ignored;
  socket_.set_option(tcp::no_delay(true), ignored);
  socket_.set_option(asio::socket_base::keep_alive(true), ignored);
}

void Connection::start() {
  begin_request();
  set_deadline(hub_.options.header_timeout);
  read();
}

void Connection::begin_request() {
  stage_ = Stage::kIdle;
  header_done_ = false;
  keep_alive_ = head_only_ = chunked_ = begun_ = finished_ = false;
  filler_.clear();
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(hub_.options.max_header_bytes));
  parser_->body_limit(hub_.options.max_body_bytes);
}

void Connection::read() {
  if (reading_ || stage_ == Stage::kClosed) return;
  reading_ = true;
  socket_.async_read_some(buffer_.prepare(kReadBytes),
                          [self = shared_from_this()](beast::error_code error, size_t bytes) {
                            self->reading_ = false;
                            self->on_read(error, bytes);
                          });
}

void Connection::on_read(beast::error_code error, size_t bytes) {
  if (stage_ == Stage::kClosed) return;
  buffer_.commit(bytes);
  if (error) {
    const bool sending_side_only = error == asio::error::eof;
    if (stage_ != Stage::kAnswering || !sending_side_only) {
      cancel();
      close();
      return;
    }
    peer_closed_ = true;
    cancel();
    return;
  }
  switch (stage_) {
    case Stage::kIdle:
      stage_ = Stage::kReading;
      set_deadline(hub_.options.header_timeout);
      parse();
      break;
    case Stage::kReading:
      parse();
      break;
    case Stage::kAnswering:
      if (buffer_.size() < kMaxAheadBytes) read();
      break;
    case Stage::kClosing:
      buffer_.clear();
      read();
      break;
    case Stage::kClosed:
      break;
  }
}

void Connection::parse() {
  while (buffer_.size() > 0) {
    beast::error_code error;
    buffer_.consume(parser_->put(buffer_.data(), error));
    if (error == beast::http::error::need_more) {
      // The parser wants a line whole: of the header, or between chunks.
      if (buffer_.size() > hub_.options.max_header_bytes) {
        error = beast::http::error::header_limit;
      } else {
        break;
      }
    }
    if (error) {
      const int status = refusal_of(error);
      refuse(status, refusal_message(status, error, hub_.options));
      return;
    }
    if (parser_->is_header_done() && !header_done_) on_header();
    if (parser_->is_done()) {
      dispatch();
      return;
    }
  }
  read();
}

void Connection::on_header() {
  header_done_ = true;
  set_deadline(hub_.options.body_timeout);
  const auto& message = parser_->get();
  if (message[beast::http::field::expect].starts_with("100-") && message.version() >= 11 &&
      !parser_->is_done()) {
    send("HTTP/1.1 100 Continue\r\n\r\n");
  }
}

void Connection::dispatch() {
  clear_deadline();
  auto message = parser_->release();
  chunked_ = message.version() >= 11;
  keep_alive_ = message.keep_alive() && !hub_.shutting_down;
  Request request;
  request.method = message.method_string();
  head_only_ = request.method == "HEAD";
  const std::optional<std::string> target = origin_form(message.target());
  if (!target) {
    refuse(400, "the request's target is no path");
    return;
  }
  const size_t question = std::min(target->find('?'), target->size());
  const std::optional<std::string> path = percent_decode(target->substr(0, question));
  if (!path) {
    refuse(400, "the path has a broken percent-escape");
    return;
  }
  request.path = *path;
  if (question < target->size()) request.query = target->substr(question + 1);
  for (const auto& field : message) {
    request.headers.emplace_back(field.name_string(), field.value());
  }
  request.body = std::move(message.body());
  stage_ = Stage::kAnswering;
  const auto exchange = std::make_shared<LiveExchange>(std::move(request), weak_from_this(),
                                                       hub_.loop, hub_.options.max_queued_bytes);
  exchange_ = exchange;
  read();
  hub_.handler(exchange);
}

void Connection::refuse(int status, const std::string& message) {
  ++hub_.bad_requests;
  stage_ = Stage::kAnswering;
  keep_alive_ = false;
  respond(hub_.options.error_response
              ? hub_.options.error_response(status, message)
              : Response{status, "text/plain; charset=utf-8", message + "\n"});
}

void Connection::respond(const Response& response) {
  if (stage_ != Stage::kAnswering || begun_) return;
  if (hub_.shutting_down) keep_alive_ = false;
  finished_ = true;
  const bool no_body = response.status == 204;
  std::string text = response_head(
      response, no_body ? "" : fmt::format("content-length: {}", response.body.size()),
      keep_alive_);
  if (!no_body && !head_only_) text += response.body;
  send(std::move(text));
}

void Connection::begin_stream(Response head) {
  if (stage_ != Stage::kAnswering || begun_) return;
  if (!chunked_ || hub_.shutting_down) keep_alive_ = false;
  send(response_head(head, chunked_ ? "transfer-encoding: chunked" : "", keep_alive_));
}

void Connection::fill_silence(const std::string& text) {
  if (stage_ != Stage::kAnswering || !begun_ || finished_) return;
  filler_ = text;
  if (!writing_) set_deadline(hub_.options.most_silence);
}

void Connection::append(const std::string& piece) {
  if (stage_ != Stage::kAnswering || piece.empty()) return;
  queued_piece_bytes_ += piece.size();
  send_piece(piece);
}

void Connection::send_piece(const std::string& piece) {
  send(head_only_ ? "" : chunked_ ? fmt::format("{:x}\r\n{}\r\n", piece.size(), piece) : piece);
}

void Connection::finish_stream() {
  if (stage_ != Stage::kAnswering) return;
  finished_ = true;
  send(chunked_ && !head_only_ ? "0\r\n\r\n" : "");
}

void Connection::abandon() {
  if (stage_ != Stage::kAnswering || finished_) return;
  if (peer_closed_) {
    close();
  } else if (begun_) {
    keep_alive_ = false;
    finished_ = true;
    send("");
  } else if (hub_.shutting_down) {
    refuse(503, "the server is shutting down");
  } else {
    refuse(500, "the request was dropped");
  }
}

void Connection::send(std::string text) {
  if (stage_ == Stage::kAnswering) begun_ = true;
  queue_.push_back(std::move(text));
  write();
}

void Connection::write() {
  if (writing_ || queue_.empty() || stage_ == Stage::kClosed) return;
  writing_ = true;
  in_flight_.swap(queue_);
  in_flight_piece_bytes_ = std::exchange(queued_piece_bytes_, 0);
  if (stage_ == Stage::kAnswering) set_deadline(hub_.options.write_timeout);
  std::vector<asio::const_buffer> buffers;
  for (const std::string& text : in_flight_) buffers.push_back(asio::buffer(text));
  asio::async_write(socket_, buffers, [self = shared_from_this()](beast::error_code error, size_t) {
    self->writing_ = false;
    self->on_written(error);
  });
}

void Connection::on_written(beast::error_code error) {
  if (stage_ == Stage::kClosed) return;
  in_flight_.clear();
  if (error) {
    cancel();
    close();
    return;
  }
  if (stage_ == Stage::kAnswering) {
    clear_deadline();
    if (!filler_.empty() && !finished_) set_deadline(hub_.options.most_silence);
    if (const auto exchange = exchange_.lock()) exchange->written(in_flight_piece_bytes_);
  }
  if (!queue_.empty()) {
    write();
  } else if (finished_) {
    end_answer();
  }
}

void Connection::end_answer() {
  exchange_.reset();
  if (!keep_alive_ || peer_closed_ || hub_.shutting_down) {
    begin_closing();
    return;
  }
  begin_request();
  if (buffer_.size() > 0) {
    stage_ = Stage::kReading;
    set_deadline(hub_.options.header_timeout);
    parse();
  } else {
    set_deadline(hub_.options.idle_timeout);
    read();
  }
}

void Connection::begin_closing() {
  beast::error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  if (peer_closed_) {
    close();
    return;
  }
  stage_ = Stage::kClosing;
  set_deadline(kClosingTime);
  buffer_.clear();
  read();
}

void Connection::wind_up() {
  if (stage_ != Stage::kAnswering) close();
}

void Connection::cancel() {
  const std::shared_ptr<LiveExchange> exchange = exchange_.lock();
  if (!exchange) return;
  ++hub_.cancelled;  // before anybody is told, who may look
  if (!exchange->cancel()) --hub_.cancelled;
}

void Connection::close() {
  if (stage_ == Stage::kClosed) return;
  const std::shared_ptr<Connection> self = shared_from_this();
  stage_ = Stage::kClosed;
  clear_deadline();
  beast::error_code ignored;
  socket_.close(ignored);
  queue_.clear();
  hub_.closed(this);
}

void Connection::set_deadline(std::chrono::milliseconds in) {
  deadline_.expires_after(in);
  deadline_.async_wait([weak = weak_from_this()](beast::error_code error) {
    const std::shared_ptr<Connection> self = weak.lock();
    if (!error && self) self->on_deadline();
  });
}

void Connection::clear_deadline() { deadline_.expires_at(asio::steady_timer::time_point::max()); }

void Connection::on_deadline() {
  // It may have been moved after this call was queued.
  if (deadline_.expiry() > asio::steady_timer::clock_type::now()) return;
  if (stage_ == Stage::kReading) {
    refuse(408, header_done_ ? "the body took too long to arrive"
                             : "the headers took too long to arrive");
    return;
  }
  if (stage_ == Stage::kAnswering && !writing_ && !filler_.empty()) {
    send_piece(filler_);
    return;
  }
  cancel();
  close();
}

}  // namespace flashmoe::http

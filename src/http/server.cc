#include "http/server.h"

#include <boost/asio/executor_work_guard.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/error.h"
#include "http/connection.h"

namespace flashmoe::http {

using asio::ip::tcp;

namespace {

// Clients above the limit are told so, up to this many at a time.
constexpr size_t kMaxRefusals = 64;
// What is left to answers that were cancelled to say so.
constexpr std::chrono::milliseconds kLastWords{1'000};

}  // namespace

struct Server::Impl {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  tcp::acceptor acceptor{context};
  asio::steady_timer pause{context};
  int port = 0;
  Hub hub;
  // Under `mutex` where another thread looks: the count and the statistics.
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections;
  mutable std::mutex mutex;
  std::condition_variable changed;
  size_t count = 0;
  int64_t accepted = 0, refused = 0;
  bool down = false;
  std::thread thread;

  void listen();
  void accept();
  void take(tcp::socket socket);
  void forget(Connection* connection);
  bool wait_until_empty(std::chrono::milliseconds patience);
  template <typename F>
  void for_all(F&& call);
};

void Server::Impl::listen() {
  const ServerOptions& o = hub.options;
  const auto fail = [&o](const std::string& what) {
    throw_error(ErrorCode::kIo, "cannot listen on {} port {}: {}; choose another --host or --port",
                o.host, o.port, what);
  };
  beast::error_code error;
  tcp::resolver resolver(context);
  const auto found =
      resolver.resolve(o.host, std::to_string(o.port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || found.empty()) fail(error.message());
  const tcp::endpoint endpoint = *found.begin();
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) fail(error.message());
  port = acceptor.local_endpoint().port();
}

void Server::Impl::accept() {
  acceptor.async_accept([this](beast::error_code error, tcp::socket socket) {
    if (hub.shutting_down || error == asio::error::operation_aborted) return;
    if (error) {  // no file descriptors left, most likely: let some be closed
      pause.expires_after(std::chrono::milliseconds(100));
      pause.async_wait([this](beast::error_code stopped) {
        if (!stopped && !hub.shutting_down) accept();
      });
      return;
    }
    take(std::move(socket));
    accept();
  });
}

void Server::Impl::take(tcp::socket socket) {
  const size_t limit = static_cast<size_t>(hub.options.max_connections);
  const bool full = connections.size() >= limit;
  const auto connection = std::make_shared<Connection>(std::move(socket), hub);
  {
    const std::lock_guard lock(mutex);
    ++(full ? refused : accepted);
    if (connections.size() >= limit + kMaxRefusals) return;  // the socket is closed
    connections.emplace(connection.get(), connection);
    count = connections.size();
  }
  if (full) {
    connection->refuse(503, "too many connections; try again in a moment");
  } else {
    connection->start();
  }
}

void Server::Impl::forget(Connection* connection) {
  const std::lock_guard lock(mutex);
  connections.erase(connection);
  count = connections.size();
  changed.notify_all();
}

template <typename F>
void Server::Impl::for_all(F&& call) {
  hub.loop->post([this, call] {
    std::vector<std::shared_ptr<Connection>> all;
    for (const auto& [key, connection] : connections) all.push_back(connection);
    for (const auto& connection : all) call(*connection);
  });
}

bool Server::Impl::wait_until_empty(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex);
  return changed.wait_for(lock, patience, [this] { return count == 0; });
}

Server::Server(const ServerOptions& options, Handler handler) : impl_(std::make_unique<Impl>()) {
  Impl& impl = *impl_;
  impl.hub.options = options;
  impl.hub.handler = std::move(handler);
  impl.hub.loop = std::make_shared<Loop>(&impl.context);
  impl.hub.closed = [&impl](Connection* connection) { impl.forget(connection); };
  impl.listen();
  impl.accept();
  impl.thread = std::thread([&impl] { impl.context.run(); });
}

Server::~Server() { shut_down(std::chrono::milliseconds(0)); }

int Server::port() const { return impl_->port; }

ServerStats Server::stats() const {
  const std::lock_guard lock(impl_->mutex);
  return {static_cast<int>(impl_->count), impl_->accepted, impl_->refused,
          impl_->hub.bad_requests.load(), impl_->hub.cancelled.load()};
}

void Server::shut_down(std::chrono::milliseconds patience) {
  Impl& impl = *impl_;
  if (impl.down) return;
  impl.down = true;
  impl.hub.loop->post([&impl] {
    impl.hub.shutting_down = true;
    beast::error_code ignored;
    impl.acceptor.close(ignored);
    impl.pause.cancel();
  });
  impl.for_all([](Connection& connection) { connection.wind_up(); });
  if (!impl.wait_until_empty(patience)) {
    impl.for_all([](Connection& connection) { connection.cancel(); });
    if (!impl.wait_until_empty(kLastWords)) {
      impl.for_all([](Connection& connection) { connection.close(); });
    }
  }
  impl.work.reset();
  impl.thread.join();
  impl.hub.loop->close();
}

}  // namespace flashmoe::http

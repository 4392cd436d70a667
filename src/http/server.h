// An HTTP/1.1 server within limits: connections, header and body sizes (also of chunked bodies),
// times, and what may wait for a slow reader. Owns the listening socket, its thread and the
// connections; what the answers are is the handler's matter.
//
// A client that closes its side while it waits counts as gone. Its exchange is cancelled, but an
// answer that comes anyway is still sent, for clients that only closed their sending side.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "http/exchange.h"

namespace flashmoe::http {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: any that is free
  int max_connections = 512;
  size_t max_header_bytes = 32 << 10;
  uint64_t max_body_bytes = uint64_t{32} << 20;
  size_t max_queued_bytes = 1 << 20;  // of a stream, waiting for its reader
  std::chrono::milliseconds header_timeout{15'000};
  std::chrono::milliseconds body_timeout{60'000};
  std::chrono::milliseconds idle_timeout{75'000};  // between the requests of a connection
  std::chrono::milliseconds write_timeout{30'000};
  std::chrono::milliseconds most_silence{15'000};  // of a stream, before it is filled
  // What to say of a request that never became one: the body and headers of the answer with this
  // status. Empty: the message as plain text.
  std::function<Response(int status, const std::string& message)> error_response = {};
};

struct ServerStats {
  int connections = 0;
  int64_t accepted = 0, refused = 0;  // since the start; refused: there were too many
  int64_t bad_requests = 0;           // not HTTP, over a limit or too late
  int64_t cancelled = 0;              // exchanges whose client went away or read too slowly
};

class Server {
 public:
  // Listens, and answers from now on. Throws Error when the address cannot be had.
  Server(const ServerOptions& options, Handler handler);
  ~Server();  // as shut_down(0)
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const;
  ServerStats stats() const;

  // Accepts nothing more, lets what runs go on for so long, then cancels it. Returns when all
  // connections are closed.
  void shut_down(std::chrono::milliseconds patience);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flashmoe::http

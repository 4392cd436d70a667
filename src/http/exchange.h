// One request and the answer to come: what a handler gets from whoever speaks HTTP. Owns the
// request; the handler keeps the exchange until it has answered.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "http/message.h"

namespace flashmoe::http {

// All methods may be called from any thread and do not block. Either respond once; or begin a
// stream, write its pieces and finish it. An exchange that is dropped unanswered gets status 500,
// or its stream is cut off.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual const Request& request() const = 0;

  virtual void respond(Response response) = 0;

  // `head` without a body.
  virtual void begin_stream(Response head) = 0;
  // `text` is sent whenever a stream that has begun was silent for a while, so that nobody on the
  // way takes the connection for dead.
  virtual void fill_silence(std::string /*text*/) {}
  // False when the exchange is cancelled and nobody waits for more. Where the server shuts down,
  // last words still arrive.
  virtual bool write(std::string piece) = 0;
  virtual void finish_stream() = 0;

  // `callback` is called once, from any thread, when the client is gone, reads too slowly or the
  // server shuts down, unless the exchange was answered before; at once if that has happened. It
  // must not block.
  virtual void on_cancel(std::function<void()> callback) = 0;
};

// Called on a thread that serves all connections: what takes longer than a millisecond is to be
// done elsewhere. Must not throw.
using Handler = std::function<void(std::shared_ptr<Exchange>)>;

}  // namespace flashmoe::http

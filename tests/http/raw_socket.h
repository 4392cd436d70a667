// A plain TCP connection to a port of this machine, to say what no decent client would. Owns the
// socket.
#pragma once

#include <string>
#include <string_view>

namespace flashmoe::http {

class RawSocket {
 public:
  explicit RawSocket(int port, int receive_buffer_bytes = 0);
  ~RawSocket();
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;

  // False when the other side does not take it any more.
  bool send(std::string_view bytes);
  void close_sending_side();
  void close();
  void reset();  // as a crashed peer: RST instead of FIN
  // What comes until `text` has come, the connection ends, or 20 s have passed; the first two leave
  // `ended` as they should.
  std::string read_until(std::string_view text);
  std::string read_all();
  bool ended() const { return ended_; }

 private:
  bool read_some();
  int fd_;
  bool ended_ = false;
  std::string received_;  // and not handed out yet
};

}  // namespace flashmoe::http

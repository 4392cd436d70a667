#include "tests/http/raw_socket.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

namespace flashmoe::http {

RawSocket::RawSocket(int port, int receive_buffer_bytes)
    : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (receive_buffer_bytes > 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
  }
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    ADD_FAILURE() << "cannot connect to port " << port;
  }
}

RawSocket::~RawSocket() { close(); }

void RawSocket::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void RawSocket::reset() {
  const linger hard = {1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  close();
}

void RawSocket::close_sending_side() { shutdown(fd_, SHUT_WR); }

bool RawSocket::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool RawSocket::read_some() {
  pollfd waiting = {fd_, POLLIN, 0};
  if (poll(&waiting, 1, 20'000) != 1) {
    ADD_FAILURE() << "nothing came in 20 s after: " << received_;
    return false;
  }
  char buffer[1 << 16];
  const ssize_t got = recv(fd_, buffer, sizeof(buffer), 0);
  if (got <= 0) {
    ended_ = true;
    return false;
  }
  received_.append(buffer, static_cast<size_t>(got));
  return true;
}

std::string RawSocket::read_until(std::string_view text) {
  size_t at;
  while ((at = received_.find(text)) == std::string::npos) {
    if (!read_some()) return std::exchange(received_, {});
  }
  std::string out = received_.substr(0, at + text.size());
  received_.erase(0, out.size());
  return out;
}

std::string RawSocket::read_all() {
  while (read_some()) {
  }
  return std::exchange(received_, {});
}

}  // namespace flashmoe::http

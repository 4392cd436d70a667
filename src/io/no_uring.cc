#include "io/uring_queue.h"

namespace flashmoe::io {

std::unique_ptr<ReadQueue> open_uring_queue(int, std::string* why) {
  *why = "this system has no io_uring";
  return nullptr;
}

}  // namespace flashmoe::io

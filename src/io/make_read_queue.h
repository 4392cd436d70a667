// Chooses a read queue for this system. Owns nothing.
#pragma once

#include <memory>

#include "io/read_queue.h"

namespace flashmoe::io {

enum class QueueKind {
  kAuto,   // io_uring if it can be had, else pread
  kUring,  // Error kUnsupported if it cannot
  kPread,
};

struct QueueOptions {
  int depth = 64;   // reads with the kernel at once, io_uring
  int threads = 8;  // the same, pread
};

std::unique_ptr<ReadQueue> make_read_queue(QueueKind kind, const QueueOptions& options = {});

}  // namespace flashmoe::io

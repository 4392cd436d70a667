// Reads through Linux's io_uring. The class lives in uring_queue.cc, which is linked on Linux only;
// elsewhere no_uring.cc takes its place.
#pragma once

#include <memory>
#include <string>

#include "io/read_queue.h"

namespace flashmoe::io {

// A queue that keeps up to `depth` reads with the kernel and the rest waiting in order. nullptr
// when io_uring cannot be had (an old kernel, a container's seccomp filter, another system); *why
// then says why.
std::unique_ptr<ReadQueue> open_uring_queue(int depth, std::string* why);

}  // namespace flashmoe::io

// Asynchronous reads from disk: submit requests, wait for completions in any order. Owns the
// requests in flight, not the buffers. One thread uses a queue at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace flashmoe::io {

class File;

// Offset, bytes and destination must be multiples of file->alignment() (1 for buffered files); file
// and destination must live until the completion is taken or the queue is gone.
struct ReadRequest {
  const File* file = nullptr;
  uint64_t offset = 0;
  size_t bytes = 0;
  std::byte* destination = nullptr;
  uint64_t tag = 0;  // given back in the completion
};

// What the system answered. A short read is not an error: the caller asks again for the rest (what
// the destination holds beyond `bytes` is undefined). No read gives more than kMaxReadBytes.
// Kernel-side failures are given as an errno so that nothing throws across threads.
struct ReadCompletion {
  uint64_t tag = 0;
  size_t bytes = 0;  // read; may be fewer than asked, 0 at the end of the file
  int error = 0;     // errno, 0 if none
};

constexpr size_t kMaxReadBytes = size_t{1} << 30;

class ReadQueue {
 public:
  // Gives up requests that have not begun and waits for the others: afterwards nothing writes to
  // their destinations.
  virtual ~ReadQueue() = default;
  virtual const char* name() const = 0;  // "uring", "pread", "fault(uring)"
  // Queues the requests; they may start at once. Any number may be in flight.
  virtual void submit(std::span<const ReadRequest> requests) = 0;
  // Takes up to completions.size() finished reads, waiting until there is at least one. Returns
  // how many; 0 only when nothing is in flight.
  virtual size_t wait(std::span<ReadCompletion> completions) = 0;
  // As wait, but never blocks.
  virtual size_t poll(std::span<ReadCompletion> completions) = 0;
  virtual size_t in_flight() const = 0;  // submitted and not yet taken

  // A hint: most destinations will lie in these buffers, which replace any named before. A queue
  // may have the kernel hold on to their pages, so name none ({}) before they are freed. Only while
  // nothing is in flight.
  virtual void register_buffers(std::span<const std::span<std::byte>> buffers) {
    static_cast<void>(buffers);
  }
  // What the user may want to know, such as why reads are slower than they could be; else empty.
  virtual std::string notes() const { return {}; }
};

// Fails a CHECK unless the request is one that a queue may be given.
void check_request(const ReadRequest& request);

}  // namespace flashmoe::io

#include "io/uring_queue.h"

#include <liburing.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "base/format_units.h"
#include "io/file.h"

namespace flashmoe::io {
namespace {

class UringQueue : public ReadQueue {
 public:
  UringQueue(const io_uring& ring, int depth) : ring_(ring), slots_(static_cast<size_t>(depth)) {
    for (int i = depth - 1; i >= 0; --i) free_slots_.push_back(static_cast<uint32_t>(i));
  }
  ~UringQueue() override;
  UringQueue(const UringQueue&) = delete;
  UringQueue& operator=(const UringQueue&) = delete;

  const char* name() const override { return "uring"; }
  void submit(std::span<const ReadRequest> requests) override;
  size_t wait(std::span<ReadCompletion> completions) override;
  size_t poll(std::span<ReadCompletion> completions) override;
  size_t in_flight() const override { return waiting_.size() + in_kernel(); }
  void register_buffers(std::span<const std::span<std::byte>> buffers) override;
  std::string notes() const override { return notes_; }

 private:
  size_t in_kernel() const { return slots_.size() - free_slots_.size(); }
  void start_waiting();
  void prepare(uint32_t slot);
  int registered_buffer(const ReadRequest& request) const;
  int enter(unsigned wait_for) noexcept;

  io_uring ring_;
  std::vector<ReadRequest> slots_;  // what the kernel has; a slot's number is its user_data
  std::vector<uint32_t> free_slots_;
  std::deque<ReadRequest> waiting_;
  std::vector<std::span<std::byte>> registered_;
  std::string notes_;
};

UringQueue::~UringQueue() {
  // Closing the ring would not wait for reads in flight, and these write to the caller's memory.
  waiting_.clear();
  while (in_kernel() > 0) {
    CHECK(enter(1) == 0);
    io_uring_cqe* cqe = nullptr;
    while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
      free_slots_.push_back(static_cast<uint32_t>(cqe->user_data));
      io_uring_cqe_seen(&ring_, cqe);
    }
  }
  io_uring_queue_exit(&ring_);
}

// Hands prepared requests to the kernel and waits for that many completions. Returns 0 or an errno.
int UringQueue::enter(unsigned wait_for) noexcept {
  for (;;) {
    const int n = io_uring_submit_and_wait(&ring_, wait_for);
    if (n == -EINTR) continue;
    // The kernel is short of memory or has completions for us to take: what it did not accept
    // stays in the ring for the next time.
    if (n == -EAGAIN || n == -EBUSY) return 0;
    return n < 0 ? -n : 0;
  }
}

int UringQueue::registered_buffer(const ReadRequest& request) const {
  for (size_t i = 0; i < registered_.size(); ++i) {
    const std::byte* begin = registered_[i].data();
    const std::byte* end = begin + registered_[i].size();
    const std::less_equal<const std::byte*> not_after;
    if (not_after(begin, request.destination) &&
        not_after(request.destination + request.bytes, end)) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

void UringQueue::prepare(uint32_t slot) {
  const ReadRequest& request = slots_[slot];
  const auto bytes = static_cast<unsigned>(std::min(request.bytes, kMaxReadBytes));
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  CHECK(sqe != nullptr);  // the ring has an entry for every slot
  const int buffer = registered_buffer(request);
  if (buffer >= 0) {
    io_uring_prep_read_fixed(sqe, request.file->fd(), request.destination, bytes, request.offset,
                             buffer);
  } else {
    io_uring_prep_read(sqe, request.file->fd(), request.destination, bytes, request.offset);
  }
  sqe->user_data = slot;
}

void UringQueue::start_waiting() {
  while (!waiting_.empty() && !free_slots_.empty()) {
    const uint32_t slot = free_slots_.back();
    free_slots_.pop_back();
    slots_[slot] = waiting_.front();
    waiting_.pop_front();
    prepare(slot);
  }
  if (io_uring_sq_ready(&ring_) == 0) return;
  if (const int error = enter(0); error != 0) {
    throw_error(ErrorCode::kIo, "io_uring refuses reads: {}; try --io pread", std::strerror(error));
  }
}

void UringQueue::submit(std::span<const ReadRequest> requests) {
  for (const ReadRequest& request : requests) check_request(request);
  waiting_.insert(waiting_.end(), requests.begin(), requests.end());
  start_waiting();
}

size_t UringQueue::poll(std::span<ReadCompletion> completions) {
  size_t taken = 0;
  io_uring_cqe* cqe = nullptr;
  while (taken < completions.size() && io_uring_peek_cqe(&ring_, &cqe) == 0) {
    const auto slot = static_cast<uint32_t>(cqe->user_data);
    const int result = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    if (result == -EINTR || result == -EAGAIN) {  // nothing was read; ask again
      prepare(slot);
      continue;
    }
    ReadCompletion& completion = completions[taken++];
    completion = {slots_[slot].tag, 0, 0};
    if (result < 0) {
      completion.error = -result;
    } else {
      completion.bytes = static_cast<size_t>(result);
    }
    free_slots_.push_back(slot);
  }
  start_waiting();
  return taken;
}

size_t UringQueue::wait(std::span<ReadCompletion> completions) {
  CHECK(!completions.empty());
  while (in_flight() > 0) {
    if (const size_t n = poll(completions); n > 0) return n;
    if (const int error = enter(1); error != 0) {
      throw_error(ErrorCode::kIo, "io_uring gives no answers: {}; try --io pread",
                  std::strerror(error));
    }
  }
  return 0;
}

void UringQueue::register_buffers(std::span<const std::span<std::byte>> buffers) {
  CHECK(in_flight() == 0);
  if (!registered_.empty()) io_uring_unregister_buffers(&ring_);
  registered_.clear();
  notes_.clear();
  std::vector<iovec> parts;
  std::vector<std::span<std::byte>> spans;
  size_t total_bytes = 0;
  for (std::span<std::byte> buffer : buffers) {
    total_bytes += buffer.size();
    while (!buffer.empty()) {  // the kernel takes up to 1 GiB each
      const std::span<std::byte> part = buffer.first(std::min(buffer.size(), kMaxReadBytes));
      parts.push_back({part.data(), part.size()});
      spans.push_back(part);
      buffer = buffer.subspan(part.size());
    }
  }
  if (parts.empty()) return;
  const int result =
      io_uring_register_buffers(&ring_, parts.data(), static_cast<unsigned>(parts.size()));
  if (result == 0) {
    registered_ = std::move(spans);
    return;
  }
  rlimit limit = {};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  notes_ = fmt::format("io_uring could not register {} of buffers ({}", format_bytes(total_bytes),
                       std::strerror(-result));
  if (result == -ENOMEM && limit.rlim_cur != RLIM_INFINITY) {
    notes_ +=
        fmt::format("; the locked-memory limit, ulimit -l, is {}", format_bytes(limit.rlim_cur));
  }
  notes_ += "): each read costs a little more";
}

}  // namespace

std::unique_ptr<ReadQueue> open_uring_queue(int depth, std::string* why) {
  CHECK(depth >= 1 && depth <= 4096);
  io_uring ring = {};
  const int result = io_uring_queue_init(static_cast<unsigned>(depth), &ring, 0);
  if (result < 0) {
    *why = result == -ENOSYS ? "the kernel has no io_uring"
           : result == -EPERM
               ? "io_uring is forbidden here (by a container's filter or "
                 "/proc/sys/kernel/io_uring_disabled)"
               : fmt::format("io_uring cannot be set up: {}", std::strerror(-result));
    return nullptr;
  }
  io_uring_probe* probe = io_uring_get_probe_ring(&ring);
  const bool can_read = probe != nullptr && io_uring_opcode_supported(probe, IORING_OP_READ);
  io_uring_free_probe(probe);
  if (!can_read) {
    io_uring_queue_exit(&ring);
    *why = "the kernel's io_uring is older than Linux 5.6 and cannot read";
    return nullptr;
  }
  return std::make_unique<UringQueue>(ring, depth);
}

}  // namespace flashmoe::io

#include "limits/disk_probe.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <random>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "io/file.h"
#include "io/make_read_queue.h"

namespace flashmoe::limits {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostInFlight = 16;
constexpr size_t kSequentialBytes = size_t{8} << 20;

void drop_from_page_cache(const io::File& file, uint64_t offset, size_t bytes) {
#ifdef POSIX_FADV_DONTNEED
  posix_fadvise(file.fd(), static_cast<off_t>(offset), static_cast<off_t>(bytes),
                POSIX_FADV_DONTNEED);
#else
  static_cast<void>(file), static_cast<void>(offset), static_cast<void>(bytes);
#endif
}

std::unique_ptr<io::ReadQueue> make_queue(ReadMode mode) {
  try {
    return io::make_read_queue(mode == ReadMode::kUring        ? io::QueueKind::kUring
                               : mode == ReadMode::kSequential ? io::QueueKind::kAuto
                                                               : io::QueueKind::kPread);
  } catch (const Error&) {
    return nullptr;
  }
}

// The numbers of the places to read, each once.
std::vector<uint32_t> make_places(uint64_t count, ReadMode mode, uint64_t seed) {
  std::vector<uint32_t> places(static_cast<size_t>(std::min<uint64_t>(count, UINT32_MAX)));
  for (size_t i = 0; i < places.size(); ++i) places[i] = static_cast<uint32_t>(i);
  if (mode != ReadMode::kSequential) {
    std::shuffle(places.begin(), places.end(), std::mt19937_64(seed));
  }
  return places;
}

}  // namespace

double disk_bytes_s(const std::string& path, ReadMode mode, const DiskProbeOptions& options) {
  const bool buffered = mode == ReadMode::kBuffered;
  const io::File file(path, buffered ? io::Access::kBuffered : io::Access::kDirect);
  if (!buffered && !file.direct()) return 0;
  const std::unique_ptr<io::ReadQueue> queue = make_queue(mode);
  if (!queue) return 0;

  const size_t unit = std::max<size_t>(file.alignment(), 4096);
  const size_t wanted = mode == ReadMode::kSequential ? kSequentialBytes : options.read_bytes;
  const size_t read_bytes = std::clamp<size_t>((wanted + unit - 1) / unit * unit, unit,
                                               std::max(options.buffer_bytes / unit * unit, unit));
  const std::vector<uint32_t> places = make_places(file.size() / read_bytes, mode, options.seed);
  if (places.empty()) return 0;
  const size_t in_flight =
      mode == ReadMode::kSequential
          ? 2
          : std::clamp<size_t>(options.buffer_bytes / read_bytes, 2, kMostInFlight);
  AlignedBuffer memory(read_bytes * in_flight);
  std::fill_n(memory.data(), memory.bytes(), std::byte{0});  // take the pages now
  const std::span<std::byte> registered = memory.span();
  queue->register_buffers({&registered, 1});

  size_t next = 0;
  uint64_t asked_bytes = 0, read = 0;
  bool failed = false;
  const auto submit = [&](size_t slot) {
    const uint64_t offset = uint64_t{places[next++]} * read_bytes;
    if (buffered) drop_from_page_cache(file, offset, read_bytes);
    const io::ReadRequest request{&file, offset, read_bytes, memory.data() + slot * read_bytes,
                                  slot};
    queue->submit({&request, 1});
    asked_bytes += read_bytes;
  };
  const Clock::time_point start = Clock::now();
  const auto elapsed_s = [&] {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  for (size_t slot = 0; slot < in_flight && next < places.size(); ++slot) submit(slot);
  std::array<io::ReadCompletion, kMostInFlight> completions;
  while (const size_t n = queue->wait(completions)) {
    for (size_t i = 0; i < n; ++i) {
      read += completions[i].bytes;
      failed = failed || completions[i].error != 0;
      const bool go_on = !failed && next < places.size() && asked_bytes < options.max_bytes &&
                         elapsed_s() < options.seconds;
      if (go_on) submit(static_cast<size_t>(completions[i].tag));
    }
  }
  const double seconds = elapsed_s();
  queue->register_buffers({});
  return failed ? 0 : static_cast<double>(read) / seconds;
}

DiskRates measure_disk(const std::string& path, const DiskProbeOptions& options) {
  // Different places: what one way has read, some disks have in a cache of their own.
  DiskProbeOptions other = options;
  DiskRates rates;
  rates.uring_bytes_s = disk_bytes_s(path, ReadMode::kUring, other);
  other.seed = options.seed + 1;
  rates.pread_bytes_s = disk_bytes_s(path, ReadMode::kPread, other);
  other.seed = options.seed + 2;
  rates.buffered_bytes_s = disk_bytes_s(path, ReadMode::kBuffered, other);
  return rates;
}

}  // namespace flashmoe::limits

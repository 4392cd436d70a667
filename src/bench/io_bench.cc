#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <random>

#include "base/error.h"
#include "base/format_units.h"
#include "bench/benches.h"
#include "bench/process_io.h"
#include "engine/engine_parts.h"
#include "engine/io_choice.h"
#include "experts/expert_loader.h"
#include "io/make_read_queue.h"

namespace flashmoe::bench {

namespace {

constexpr double kSeconds = 0.5;
constexpr size_t kBufferBytes = size_t{64} << 20;
constexpr int kMostInFlight = 16;

// The experts' keys in random order, each once.
std::vector<experts::ExpertKey> shuffled_keys(const experts::ExpertIndex& index, uint64_t seed) {
  std::vector<experts::ExpertKey> keys;
  for (int layer = 0; layer < index.layers(); ++layer) {
    for (int e = 0; e < static_cast<int>(index.layer(layer).parts.size()); ++e) {
      keys.push_back(index.key(layer, e));
    }
  }
  std::shuffle(keys.begin(), keys.end(), std::mt19937_64(seed));
  return keys;
}

void drop_from_page_cache(const experts::ExpertReads& reads, const std::vector<io::File>& files) {
#ifdef POSIX_FADV_DONTNEED
  for (int r = 0; r < reads.count; ++r) {
    const experts::ExpertReads::Read& read = reads.reads[static_cast<size_t>(r)];
    posix_fadvise(files[static_cast<size_t>(read.file)].fd(), static_cast<off_t>(read.offset),
                  static_cast<off_t>(read.bytes), POSIX_FADV_DONTNEED);
  }
#else
  static_cast<void>(reads), static_cast<void>(files);
#endif
}

struct Reading {
  double bytes_s = 0;        // of experts; 0: this way cannot be had
  double read_overhead = 0;  // bytes read for each byte of an expert
  double process_share = 0;  // of the bytes read, those that came from a disk
};

// Reads experts as the engine does, many at once, for about kSeconds.
Reading read_experts(const Engine::Parts& parts, IoMode mode, uint64_t seed) {
  const experts::ExpertIndex& index = parts.weights_plan->expert_index();
  const bool buffered = mode == IoMode::kBuffered;
  std::vector<io::File> files;
  size_t alignment = 1;
  for (const std::string& path : parts.checkpoint->files()) {
    files.emplace_back(path, buffered ? io::Access::kBuffered : io::Access::kDirect);
    if (!buffered && !files.back().direct()) return {};
    alignment = std::max(alignment, files.back().alignment());
  }
  std::unique_ptr<io::ReadQueue> queue;
  try {
    queue =
        io::make_read_queue(mode == IoMode::kUring ? io::QueueKind::kUring : io::QueueKind::kPread);
  } catch (const Error&) {
    return {};
  }
  const int buffers = static_cast<int>(std::clamp<size_t>(
      kBufferBytes / experts::ExpertLoader::buffer_bytes(index, alignment), 2, kMostInFlight));
  experts::ExpertLoader loader(index, files, *queue, buffers);
  const std::vector<experts::ExpertKey> keys = shuffled_keys(index, seed);

  using Clock = std::chrono::steady_clock;
  const std::optional<uint64_t> disk_before = process_disk_bytes();
  const Clock::time_point start = Clock::now();
  const auto elapsed_s = [&] {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  size_t next = 0;
  uint64_t expert_bytes = 0;
  while (true) {
    while (next < keys.size() && loader.can_start() && elapsed_s() < kSeconds) {
      if (buffered) drop_from_page_cache(index.reads(keys[next], alignment), files);
      expert_bytes += index.expert_bytes(keys[next] / index.experts());
      loader.start(keys[next++]);
    }
    if (loader.in_flight() == 0) break;
    loader.release(loader.wait());
  }
  const double seconds = elapsed_s();
  const double read = static_cast<double>(loader.read_bytes());
  Reading reading;
  reading.bytes_s = static_cast<double>(expert_bytes) / seconds;
  reading.read_overhead = read / static_cast<double>(expert_bytes);
  if (disk_before) {
    reading.process_share =
        static_cast<double>(process_disk_bytes().value_or(0) - *disk_before) / read;
  }
  return reading;
}

}  // namespace

Report bench_io(const BenchOptions& options) {
  const std::unique_ptr<Engine::Parts> parts = engine::plan_engine(options.engine);
  if (parts->work.layers == 0) {
    throw_error(ErrorCode::kUsage, "{}: the model has no experts", parts->model_path);
  }
  const engine::ExpertPlace place = engine::typical_expert(*parts);
  limits::DiskProbeOptions sequential;
  const auto limit = [&] {
    return limits::disk_bytes_s(place.path, limits::ReadMode::kSequential, sequential);
  };

  Report report;
  report.name = "io";
  report.model = parts->model_path;
  report.setting = {{"expert_bytes", place.bytes}, {"seed", options.seed}};
  report.unit = "GB/s";
  report.lines.push_back(fmt::format("io        {}: experts of {} at random places",
                                     std::filesystem::path(report.model).filename().string(),
                                     format_bytes(place.bytes)));
  uint64_t seed = options.seed;
  for (IoMode mode : {IoMode::kUring, IoMode::kPread, IoMode::kBuffered}) {
    std::vector<double> rates, limits;
    Reading reading;
    for (int i = 0; i < options.repeat; ++i) {
      if (options.stop && options.stop()) throw Error(ErrorCode::kCancelled, "stopped");
      const double before = limit();
      reading = read_experts(*parts, mode, ++seed);
      rates.push_back(reading.bytes_s);
      limits.push_back((before + limit()) / 2);
    }
    const double gb_s = median(rates) / 1e9, limit_gb_s = median(limits) / 1e9;
    const double fraction = limit_gb_s > 0 ? gb_s / limit_gb_s : 0;
    const char* name = engine::io_mode_name(mode);
    report.figures[name] = {{"gb_s", gb_s},
                            {"limit_gb_s", limit_gb_s},
                            {"fraction", fraction},
                            {"read_overhead", reading.read_overhead},
                            {"disk_share", reading.process_share}};
    report.lines.push_back(
        gb_s > 0 ? fmt::format("{:<9}{:8.2f} GB/s  {:5.1f} % of {:.2f} (direct, sequential)  read "
                               "{:.3f} of what experts are",
                               name, gb_s, 100 * fraction, limit_gb_s, reading.read_overhead)
                 : fmt::format("{:<9} cannot be had here", name));
    if (gb_s > report.figure) {
      report.figure = gb_s;
      report.limit = limit_gb_s;
    }
  }
  report.figures["gb_s"] = report.figure;
  report.figures["limit_gb_s"] = report.limit;
  report.figures["fraction"] = report.fraction();
  return report;
}

}  // namespace flashmoe::bench

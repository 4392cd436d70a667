#include "engine/io_choice.h"

#include <fmt/format.h>

#include <algorithm>

namespace flashmoe::engine {

bool suits_page_cache(uint64_t model_bytes, uint64_t available_bytes) {
  return model_bytes <= available_bytes / 2;
}

IoMode fastest_io(const limits::DiskRates& rates) {
  const IoMode direct =
      rates.pread_bytes_s > 1.05 * rates.uring_bytes_s ? IoMode::kPread : IoMode::kUring;
  const double direct_bytes_s = rate_of(rates, direct);
  if (direct_bytes_s == 0 || rates.buffered_bytes_s > 1.1 * direct_bytes_s) {
    return IoMode::kBuffered;
  }
  return direct;
}

std::string describe_rates(const limits::DiskRates& rates) {
  std::string text;
  for (IoMode mode : {IoMode::kUring, IoMode::kPread, IoMode::kBuffered}) {
    const double bytes_s = rate_of(rates, mode);
    if (!text.empty()) text += ", ";
    text += bytes_s > 0 ? fmt::format("{} {:.2f} GB/s", io_mode_name(mode), bytes_s / 1e9)
                        : fmt::format("no {}", io_mode_name(mode));
  }
  return text;
}

double rate_of(const limits::DiskRates& rates, IoMode mode) {
  switch (mode) {
    case IoMode::kUring:
      return rates.uring_bytes_s;
    case IoMode::kPread:
      return rates.pread_bytes_s;
    default:
      return rates.buffered_bytes_s;
  }
}

const char* io_mode_name(IoMode mode) {
  switch (mode) {
    case IoMode::kUring:
      return "uring";
    case IoMode::kPread:
      return "pread";
    case IoMode::kBuffered:
      return "buffered";
    default:
      return "auto";
  }
}

}  // namespace flashmoe::engine

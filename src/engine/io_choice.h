// How experts are read when nobody says: decided by the size of the model and by what the disk was
// measured to do. Owns the rule; measures nothing.
#pragma once

#include <cstdint>
#include <string>

#include "flashmoe/engine.h"
#include "limits/disk_probe.h"

namespace flashmoe::engine {

// An expert that stands for all when their reading is measured.
struct ExpertPlace {
  std::string path;  // the file that holds it
  size_t bytes = 0;  // what is read for it
};

// A model of which two copies fit the available memory is read through the page cache, so that the
// next start finds it there; no disk needs to be measured for that.
bool suits_page_cache(uint64_t model_bytes, uint64_t available_bytes);

// For a larger model: past the page cache, which would keep what our own cache keeps better, unless
// reading through it is faster by more than a tenth. Of the direct ways io_uring, which needs no
// threads, unless pread is faster by more than a twentieth. kBuffered when nothing else works.
IoMode fastest_io(const limits::DiskRates& rates);

// "uring 2.1 GB/s, pread 1.9 GB/s, buffered 0.9 GB/s"
std::string describe_rates(const limits::DiskRates& rates);

// The rate of one of the modes, not kAuto.
double rate_of(const limits::DiskRates& rates, IoMode mode);

const char* io_mode_name(IoMode mode);  // "auto", "uring", "pread", "buffered"

}  // namespace flashmoe::engine

// Measures how fast a file can be read at random places, in each of the ways that experts can be
// read. Owns nothing; the results' keeping lies in limits_cache.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace flashmoe::limits {

enum class ReadMode { kUring, kPread, kBuffered, kSequential };

struct DiskProbeOptions {
  size_t read_bytes = size_t{1} << 20;     // of one read; that of an expert
  double seconds = 0.4;                    // at most about so long
  uint64_t max_bytes = uint64_t{2} << 30;  // and no more than so much
  size_t buffer_bytes = size_t{64} << 20;  // memory for reads in flight
  uint64_t seed = 1;                       // of the places
};

// Bytes per second; 0 where the system or the file cannot be read this way.
// kUring and kPread: direct, at random places, up to 16 reads in flight. kBuffered: the same
// through the page cache, of which these places are dropped first. kSequential: direct, one place
// after the other, two large reads in flight: what `dd` shows at best. No place is read twice, so a
// small file ends the measurement early. Throws Error when the file cannot be opened.
double disk_bytes_s(const std::string& path, ReadMode mode, const DiskProbeOptions& options);

struct DiskRates {
  double uring_bytes_s = 0, pread_bytes_s = 0, buffered_bytes_s = 0;
};

DiskRates measure_disk(const std::string& path, const DiskProbeOptions& options);

}  // namespace flashmoe::limits

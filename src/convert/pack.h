// flashmoe pack: a model as a packed store (docs/store-format.md), bit for bit what its files hold.
// Owns the order of the work; pack_layout.h says where things go, unfinished_store.h what a run
// that was ended leaves for the next.
#pragma once

#include <cstdint>
#include <string>

namespace flashmoe::convert {

struct PackReport {
  std::string destination;
  uint64_t bytes = 0;          // of the store's weights
  uint64_t resumed_bytes = 0;  // of these, written by an earlier run
  int files = 0;               // of weights
  int64_t expert_records = 0;
  double seconds = 0;  // for the bytes that were not there before
};

// Reads and writes on `threads` threads (0: as many as suit), each with a piece of a few MiB or one
// record in memory. A run that ends early, for whatever reason, is taken up by the next one with
// the same arguments; the result is the same to the byte. Throws Error, kCancelled after a stop
// signal.
PackReport pack(const std::string& source, const std::string& destination, int threads = 0);

}  // namespace flashmoe::convert

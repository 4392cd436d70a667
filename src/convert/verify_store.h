// flashmoe pack --verify: reads every byte of a packed store and says which are not as they were
// written. Owns nothing that lasts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace flashmoe::convert {

struct Damage {
  std::string file;
  int64_t record = 0;  // of a file of weights; -1: the file as a whole
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::string what;  // for people
};

struct VerifyReport {
  int files = 0;
  int64_t records = 0;
  uint64_t bytes = 0;
  double seconds = 0;
  std::vector<Damage> damaged;  // in the order of the manifest
};

// Throws Error when the manifest itself is damaged or there is none, kCancelled after a stop
// signal.
VerifyReport verify_store(const std::string& folder);

}  // namespace flashmoe::convert

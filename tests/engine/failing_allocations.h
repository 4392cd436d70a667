// Memory that runs out when a test says so: `new` of this test program asks here first. Owns
// nothing; one at a time. What is mapped (AlignedBuffer) is not concerned.
#pragma once

#include <cstddef>
#include <cstdint>

namespace flashmoe::engine {

class FailingAllocations {
 public:
  // While it lives, the n-th allocation (from 0) of any thread fails, once.
  static FailingAllocations nth(int64_t n) { return FailingAllocations(n, 0); }
  // Every allocation of exactly so many bytes fails.
  static FailingAllocations of_bytes(size_t bytes) { return FailingAllocations(-1, bytes); }
  ~FailingAllocations();
  FailingAllocations(const FailingAllocations&) = delete;
  FailingAllocations& operator=(const FailingAllocations&) = delete;

  int64_t failed() const;  // so far

 private:
  FailingAllocations(int64_t n, size_t bytes);
};

}  // namespace flashmoe::engine

// Measures what some threads of this machine can do at most: reading memory and multiplying int8.
// On shared machines both change from minute to minute, so whoever quotes a fraction of a limit
// measures it right before and after. Owns the buffer that is read.
#pragma once

#include <cstddef>

#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "limits/probe_loops.h"

namespace flashmoe::limits {

class MachineProbe {
 public:
  // Several times what the caches of common processors hold.
  static constexpr size_t kBufferBytes = size_t{256} << 20;
  static constexpr double kMemorySeconds = 0.2, kInt8Seconds = 0.1;

  // Uses the instruction set of the product kernels. The pool must outlive the probe.
  explicit MachineProbe(ThreadPool& pool, size_t buffer_bytes = kBufferBytes);

  // Medians over passes that take about so long together.
  double memory_bytes_s(double seconds = kMemorySeconds);
  double int8_ops_s(double seconds = kInt8Seconds);  // a multiply-add is two
  // Reads the buffer once; returns the seconds it took.
  double memory_pass_s();

  int threads() const { return pool_.threads(); }
  size_t buffer_bytes() const { return buffer_.bytes(); }

 private:
  ThreadPool& pool_;
  const ProbeLoops& loops_;
  AlignedBuffer buffer_;
};

}  // namespace flashmoe::limits

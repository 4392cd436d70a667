#include "tests/engine/failing_allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<int64_t> countdown{-1};  // allocations that succeed before one fails; below 0: all
std::atomic<size_t> failing_bytes{0};
std::atomic<int64_t> failures{0};

bool fails(size_t bytes) {
  const size_t wanted = failing_bytes.load(std::memory_order_relaxed);
  const bool chosen = wanted != 0 && bytes == wanted;
  const bool due = countdown.load(std::memory_order_relaxed) >= 0 && countdown.fetch_sub(1) == 0;
  if (chosen || due) ++failures;
  return chosen || due;
}

void* allocate(size_t bytes, size_t alignment) {
  void* memory = nullptr;
  if (!fails(bytes)) {
    memory = alignment == 0
                 ? std::malloc(bytes > 0 ? bytes : 1)
                 : std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
  }
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t bytes) { return allocate(bytes, 0); }
void* operator new[](size_t bytes) { return allocate(bytes, 0); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<size_t>(alignment));
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<size_t>(alignment));
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return fails(bytes) ? nullptr : std::malloc(bytes > 0 ? bytes : 1);
}
void* operator new[](size_t bytes, const std::nothrow_t& tag) noexcept {
  return operator new(bytes, tag);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace flashmoe::engine {

FailingAllocations::FailingAllocations(int64_t n, size_t bytes) {
  failures = 0;
  failing_bytes = bytes;
  countdown = n;
}

FailingAllocations::~FailingAllocations() {
  countdown = -1;
  failing_bytes = 0;
}

int64_t FailingAllocations::failed() const { return failures; }

}  // namespace flashmoe::engine

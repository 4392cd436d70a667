// CHECK(condition): aborts with the place in the source. For programmer's errors only; what the
// world can cause is an Error.
#pragma once

namespace flashmoe {

[[noreturn]] void check_failed(const char* condition, const char* file, int line) noexcept;

}  // namespace flashmoe

#define CHECK(condition) \
  ((condition) ? (void)0 : ::flashmoe::check_failed(#condition, __FILE__, __LINE__))

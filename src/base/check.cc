#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace flashmoe {

void check_failed(const char* condition, const char* file, int line) noexcept {
  std::fprintf(stderr, "%s:%d: internal error: CHECK(%s) failed\n", file, line, condition);
  std::abort();
}

}  // namespace flashmoe

#include "io/read_queue.h"

#include "base/check.h"
#include "io/file.h"

namespace flashmoe::io {

void check_request(const ReadRequest& request) {
  CHECK(request.file != nullptr && request.destination != nullptr && request.bytes > 0);
  const uint64_t mask = request.file->alignment() - 1;
  CHECK((request.offset & mask) == 0);
  CHECK((request.bytes & mask) == 0);
  CHECK((reinterpret_cast<uintptr_t>(request.destination) & mask) == 0);
}

}  // namespace flashmoe::io

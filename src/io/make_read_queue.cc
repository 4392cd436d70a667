#include "io/make_read_queue.h"

#include <string>

#include "base/error.h"
#include "base/log.h"
#include "io/pread_queue.h"
#include "io/uring_queue.h"

namespace flashmoe::io {

std::unique_ptr<ReadQueue> make_read_queue(QueueKind kind, const QueueOptions& options) {
  if (kind != QueueKind::kPread) {
    std::string why;
    if (auto queue = open_uring_queue(options.depth, &why)) return queue;
    if (kind == QueueKind::kUring) {
      throw_error(ErrorCode::kUnsupported, "{}; use --io auto or pread", why);
    }
    log_debug("{}; reading with {} threads", why, options.threads);
  }
  return std::make_unique<PreadQueue>(options.threads);
}

}  // namespace flashmoe::io

#include <fmt/format.h>

#include <mutex>
#include <random>

#include "server/codec.h"

namespace flashmoe::server {

std::string random_id() {
  static std::mutex mutex;
  static std::mt19937_64 random{std::random_device{}()};
  const std::lock_guard lock(mutex);
  return fmt::format("{:016x}{:08x}", random(), random() >> 32);
}

}  // namespace flashmoe::server

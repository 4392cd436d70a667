// What this process has read from disks, by the system's own count. Owns nothing.
#pragma once

#include <cstdint>
#include <optional>

namespace flashmoe::bench {

// Bytes that reads of this process, all threads, have caused on block devices so far: what came out
// of the page cache does not count. nullopt where the system does not say.
std::optional<uint64_t> process_disk_bytes();

}  // namespace flashmoe::bench

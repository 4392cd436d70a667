// How much memory the machine has, how much of it this process may still take, and how much it has
// taken. Owns nothing. On Linux read from /proc and from the cgroups (v1 and v2) that hold this
// process: `root` goes before these paths, so that tests can lay out trees of their own.
#pragma once

#include <cstdint>
#include <string>

namespace flashmoe {

// What can be taken without swapping; page cache that the system would give up counts as free.
uint64_t available_memory_bytes(const std::string& root = "");

// The machine's memory, or the smallest cgroup limit on this process.
uint64_t total_memory_bytes(const std::string& root = "");

// What this process has resident now, and the most it has had so far.
uint64_t rss_bytes();
uint64_t peak_rss_bytes();

}  // namespace flashmoe

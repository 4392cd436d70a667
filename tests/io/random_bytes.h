// Reproducible content for test files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

namespace flashmoe::io {

inline std::string random_bytes(size_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string content(bytes, '\0');
  for (char& c : content) c = static_cast<char>(random());
  return content;
}

}  // namespace flashmoe::io

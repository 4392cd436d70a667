// For tests: the bytes of files, small safetensors files, and the message of an expected Error.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "base/error.h"

namespace flashmoe::format {

inline std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// A safetensors file of this header, with zeros as data.
inline std::string safetensors_bytes(const std::string& json, size_t data_bytes) {
  std::string prefix(8, '\0');
  for (size_t i = 0; i < 8; ++i) prefix[i] = static_cast<char>(json.size() >> (8 * i));
  return prefix + json + std::string(data_bytes, '\0');
}

// Runs `action`, which must throw an Error of this code, with all of `parts` in its message.
inline void expect_error(ErrorCode code, const std::vector<std::string>& parts,
                         const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << message;
    for (const std::string& part : parts) {
      EXPECT_NE(message.find(part), std::string::npos) << "no '" << part << "' in: " << message;
    }
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return;
  }
  ADD_FAILURE() << "no error; expected one about " << parts.front();
}

}  // namespace flashmoe::format

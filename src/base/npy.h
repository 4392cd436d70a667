// NumPy's .npy files: arrays of float32 written row by row, and small arrays of float32, int32 or
// int64 read whole. Owns neither numbers nor shapes beyond that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/atomic_file.h"

namespace flashmoe {

// Writes a matrix [rows, cols] of float32. The file appears under its name in `finish`, and never
// if that is not called.
class NpyWriter {
 public:
  NpyWriter(const std::string& path, int64_t rows, int64_t cols);
  void write_row(std::span<const float> row);  // [cols]
  void finish();                               // after exactly `rows` rows

 private:
  AtomicFile file_;
  int64_t rows_left_;
  int64_t cols_;
};

struct NpyArray {
  std::vector<int64_t> shape;
  std::variant<std::vector<float>, std::vector<int32_t>, std::vector<int64_t>> values;  // row-major
};

// Parses a whole file; `name` is for messages. Throws Error: kCorrupt for what is no .npy file or
// has the wrong length, kUnsupported for other types, byte orders and versions.
NpyArray parse_npy(std::string_view bytes, const std::string& name);
NpyArray read_npy(const std::string& path);

}  // namespace flashmoe

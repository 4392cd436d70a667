// How a weight matrix lies in its file where that is not row by row in the parts of its Format, as
// other tools than MLX have it; and the way from there to rows. Owns those byte layouts; which
// tensors of a file are meant lies in format/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "quant/format.h"

namespace flashmoe::quant {

struct Storage {
  // Shapes are [outer, inner]; in = inputs (columns), out = outputs (rows), groups = groups of
  // inputs. "Words" are 32 bits; codes fill them as one stream, low bit first.
  enum class Kind {
    kRows,    // row-major parts of the Format: nothing to do
    kGptq,    // codes: words [in * bits / 32, out], a column of words is an output's stream;
              // zeros: words [groups, out * bits / 32]; scales [groups, out]
    kAwq,     // 4 bits. codes: words [in, out / 8]; zeros: words [groups, out / 8]; both with
              // outputs 0 2 4 6 1 3 5 7 of each eight from the low bits up; scales [groups, out]
    kPacked,  // codes row-major; scales [out, groups]; zeros: words [out * bits / 32, groups], or
              // none where the middle code stands for zero
    kScaled,  // codes row-major; scales [out / scale_rows, groups], rounded up
    kTwoScales,   // codes (e2m1) and scales (e4m3) row-major, and one float32: what stands for the
                  // largest product of the two, 6 * 448
    kInterleaved  // codes: all parts of 16 rows together, see quant/interleaved.h
  };
  Kind kind = Kind::kRows;
  int64_t group = 0;       // inputs that share a scale in the file, the last group may be shorter
  int64_t scale_rows = 1;  // kScaled: rows that share a scale
  bool zeros_less_one = false;  // kGptq: the file holds zero - 1

  bool operator==(const Storage&) const = default;
  bool in_rows() const { return kind == Kind::kRows; }
  // Whether the rows that come out are those that went in, to the bit.
  bool keeps_rows() const { return in_rows() || kind == Kind::kInterleaved; }
};

// A whole matrix as it lies in its file; parts that the storage has not are null.
struct StoredMatrix {
  Storage storage;
  Format format;  // of the rows to come
  int64_t rows = 0;
  int64_t cols = 0;
  const std::byte* codes = nullptr;
  const std::byte* scales = nullptr;
  const std::byte* zeros = nullptr;  // kTwoScales: the float32
};

// Rows [begin, begin + n) as row-major parts of the format, the codes in the order of the inputs
// that `order` [cols] says (nullptr: as they are). `biases` is unused by formats without. The
// storage is not kRows.
void unpack_rows(const StoredMatrix& source, const int32_t* order, int64_t begin, int64_t n,
                 std::byte* codes, std::byte* scales, std::byte* biases);

// GPTQ's g_idx, the group of each input (int32 [cols]), to the order in which every group's inputs
// are neighbours, lowest first: order[i] is the input that comes i-th. False, and nothing to rely
// on in `order`, unless every group has exactly `group` inputs, but for a shorter last one.
bool sort_inputs(const std::byte* group_of_input, int64_t cols, int64_t group, int32_t* order);

// "gptq 4-bit g128 act-order", "fp8 e4m3 128x128"; of kRows the format's own.
std::string storage_name(const Storage& storage, const Format& format);

}  // namespace flashmoe::quant

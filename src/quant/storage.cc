#include "quant/storage.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/half.h"
#include "quant/decode.h"
#include "quant/interleaved.h"
#include "quant/small_floats.h"

namespace flashmoe::quant {

namespace {

// Where each of eight outputs lies in a word of AWQ, in codes from the low bits up.
constexpr int kAwqPlace[8] = {0, 4, 1, 5, 2, 6, 3, 7};

// The largest weight that e2m1 codes and e4m3 scales express.
constexpr float kLargestNvfp4 = 6 * 448;

uint32_t load_word(const std::byte* words, int64_t index) {
  uint32_t word;
  std::memcpy(&word, words + index * 4, sizeof(word));
  return word;
}

// Code `index` of a stream whose words are `stride` apart.
uint32_t code_at(const std::byte* words, int64_t stride, int bits, int64_t index) {
  const int64_t bit = index * bits, word = bit / 32;
  const int shift = static_cast<int>(bit % 32);
  uint64_t value = load_word(words, word * stride);
  if (shift + bits > 32) value |= uint64_t{load_word(words, (word + 1) * stride)} << 32;
  return static_cast<uint32_t>(value >> shift) & ((1u << bits) - 1);
}

void store_number(DType type, uint32_t number, std::byte* out) {
  const float value = static_cast<float>(number);
  if (type == DType::kF16) {
    const F16 half = to_f16(value);
    std::memcpy(out, &half, sizeof(half));
  } else if (type == DType::kBf16) {
    const Bf16 half = to_bf16(value);
    std::memcpy(out, &half, sizeof(half));
  } else {
    std::memcpy(out, &value, sizeof(value));
  }
}

class Unpacker {
 public:
  Unpacker(const StoredMatrix& source, const int32_t* order)
      : m_(source), kind_(source.storage.kind), order_(order) {
    groups_ = (m_.cols + m_.storage.group - 1) / m_.storage.group;
    scale_size_ = dtype_bytes(m_.format.dtype);
  }

  void codes(int64_t begin, int64_t n, std::byte* out) const {
    const size_t row_bytes = m_.format.code_bytes(m_.cols);
    if (order_ == nullptr && kind_ == Kind::kGptq) {
      // An output's stream has the order of bits that rows have: whole words move.
      const int64_t words = m_.cols * m_.format.bits / 32;
      for (int64_t w = 0; w < words; ++w) {
        const std::byte* from = m_.codes + (w * m_.rows + begin) * 4;
        for (int64_t r = 0; r < n; ++r) {
          std::memcpy(out + static_cast<size_t>(r) * row_bytes + w * 4, from + r * 4, 4);
        }
      }
    } else if (order_ == nullptr && kind_ != Kind::kAwq) {
      std::memcpy(out, m_.codes + static_cast<size_t>(begin) * row_bytes,
                  static_cast<size_t>(n) * row_bytes);
    } else {
      // A few rows at a time, one byte a code.
      constexpr int64_t kRows = 8;
      std::vector<uint8_t> single(static_cast<size_t>(kRows * m_.cols));
      for (int64_t first = 0; first < n; first += kRows) {
        const int64_t count = std::min(kRows, n - first);
        for (int64_t i = 0; i < m_.cols; ++i) {
          const int64_t input = order_ != nullptr ? order_[i] : i;
          for (int64_t r = 0; r < count; ++r) {
            single[static_cast<size_t>(r * m_.cols + i)] = code(begin + first + r, input);
          }
        }
        for (int64_t r = 0; r < count; ++r) {
          pack_codes(m_.format.bits, m_.cols, single.data() + r * m_.cols,
                     out + static_cast<size_t>(first + r) * row_bytes);
        }
      }
    }
  }

  void scales(int64_t begin, int64_t n, std::byte* out) const {
    for (int64_t r = begin; r < begin + n; ++r) {
      for (int64_t i = 0; i < m_.cols; i += m_.format.group, out += scale_size_) {
        put_scale(r, i / m_.storage.group, out);
      }
    }
  }

  void zeros(int64_t begin, int64_t n, std::byte* out) const {
    for (int64_t r = begin; r < begin + n; ++r) {
      for (int64_t i = 0; i < m_.cols; i += m_.format.group, out += scale_size_) {
        store_number(m_.format.dtype, zero(r, i / m_.storage.group), out);
      }
    }
  }

 private:
  using Kind = Storage::Kind;

  uint8_t code(int64_t row, int64_t input) const {
    const int bits = m_.format.bits;
    if (kind_ == Kind::kGptq) {
      return static_cast<uint8_t>(code_at(m_.codes + row * 4, m_.rows, bits, input));
    }
    if (kind_ == Kind::kAwq) {
      const uint32_t word = load_word(m_.codes, input * (m_.rows / 8) + row / 8);
      return static_cast<uint8_t>(word >> (4 * kAwqPlace[row % 8]) & 15);
    }
    return static_cast<uint8_t>(code_at(m_.codes + row * (m_.cols * bits / 8), 1, bits, input));
  }

  void put_scale(int64_t row, int64_t group, std::byte* out) const {
    if (kind_ == Kind::kTwoScales) {
      float factor;
      std::memcpy(&factor, m_.zeros, sizeof(factor));
      const float scale = factor / kLargestNvfp4 *
                          e4m3_to_float(static_cast<uint8_t>(m_.scales[row * groups_ + group]));
      std::memcpy(out, &scale, sizeof(scale));
      return;
    }
    const bool by_group = kind_ == Kind::kGptq || kind_ == Kind::kAwq;
    const int64_t index =
        by_group ? group * m_.rows + row : row / m_.storage.scale_rows * groups_ + group;
    std::memcpy(out, m_.scales + static_cast<size_t>(index) * scale_size_, scale_size_);
  }

  uint32_t zero(int64_t row, int64_t group) const {
    const int bits = m_.format.bits;
    if (m_.zeros == nullptr) return 1u << (bits - 1);
    switch (kind_) {
      case Kind::kGptq: {
        const std::byte* words = m_.zeros + group * (m_.rows * bits / 32) * 4;
        const uint32_t stored = code_at(words, 1, bits, row);
        // As AutoGPTQ and exllama have it, zero - 1 wraps: 15 stands for 0.
        return m_.storage.zeros_less_one ? (stored + 1) & ((1u << bits) - 1) : stored;
      }
      case Kind::kAwq: {
        const uint32_t word = load_word(m_.zeros, group * (m_.rows / 8) + row / 8);
        return word >> (4 * kAwqPlace[row % 8]) & 15;
      }
      default:
        return code_at(m_.zeros + group * 4, groups_, bits, row);
    }
  }

  const StoredMatrix& m_;
  const Kind kind_;
  const int32_t* order_;
  int64_t groups_;  // in the file
  size_t scale_size_;
};

}  // namespace

void unpack_rows(const StoredMatrix& source, const int32_t* order, int64_t begin, int64_t n,
                 std::byte* codes, std::byte* scales, std::byte* biases) {
  if (source.storage.kind == Storage::Kind::kInterleaved) {
    CHECK(order == nullptr);
    return restore_rows(source.format, source.cols, source.codes, begin, n, codes, scales, biases);
  }
  CHECK(!source.storage.in_rows() && source.storage.group > 0);
  const Unpacker unpacker(source, order);
  unpacker.codes(begin, n, codes);
  unpacker.scales(begin, n, scales);
  if (source.format.bias_bytes(source.cols) > 0) unpacker.zeros(begin, n, biases);
}

bool sort_inputs(const std::byte* group_of_input, int64_t cols, int64_t group, int32_t* order) {
  const int64_t groups = (cols + group - 1) / group;
  std::vector<int64_t> filled(static_cast<size_t>(groups), 0);
  for (int64_t i = 0; i < cols; ++i) {
    int32_t g;
    std::memcpy(&g, group_of_input + i * 4, sizeof(g));
    if (g < 0 || g >= groups) return false;
    int64_t& count = filled[static_cast<size_t>(g)];
    if (count == std::min(group, cols - g * group)) return false;
    order[g * group + count++] = static_cast<int32_t>(i);
  }
  return true;  // no group has too many, so none has too few
}

std::string storage_name(const Storage& storage, const Format& format) {
  const auto affine = [&](const char* tool) {
    return fmt::format("{} {}-bit g{}{}", tool, format.bits, storage.group,
                       format.permuted ? " act-order" : "");
  };
  switch (storage.kind) {
    case Storage::Kind::kRows:
    case Storage::Kind::kInterleaved:
      return format.name();
    case Storage::Kind::kGptq:
      return affine("gptq");
    case Storage::Kind::kAwq:
      return affine("awq");
    case Storage::Kind::kPacked:
      return affine("packed");
    case Storage::Kind::kScaled:
      return fmt::format("fp8 e4m3 {}x{}", storage.scale_rows, storage.group);
    case Storage::Kind::kTwoScales:
      return "nvfp4 with a global scale";
  }
  CHECK(!"a kind of storage");
}

}  // namespace flashmoe::quant

// For tests: the bytes of small GGUF files, right or wrong.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace flashmoe::format {

// Appends numbers and strings as GGUF has them.
class GgufBytes {
 public:
  template <typename T>
  GgufBytes& number(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) {
      if constexpr (std::is_same_v<T, float>) {
        bytes_ += static_cast<char>(std::bit_cast<uint32_t>(value) >> (8 * i));
      } else if constexpr (std::is_same_v<T, double>) {
        bytes_ += static_cast<char>(std::bit_cast<uint64_t>(value) >> (8 * i));
      } else {
        bytes_ += static_cast<char>(static_cast<uint64_t>(value) >> (8 * i));
      }
    }
    return *this;
  }
  GgufBytes& string(std::string_view text) {
    number<uint64_t>(text.size());
    bytes_ += text;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// A whole file. Keys and tensors in the order in which they are added.
class GgufFile {
 public:
  uint32_t version = 3;
  uint64_t alignment = 32;  // of the data; tell it to the reader by a key if it is another

  GgufFile& key(std::string_view name, uint32_t type, const std::string& value) {
    keys_ += GgufBytes().string(name).number(type).bytes() + value;
    ++key_count_;
    return *this;
  }
  GgufFile& u32(std::string_view name, uint32_t value) {
    return key(name, 4, GgufBytes().number(value).bytes());
  }
  GgufFile& i32(std::string_view name, int32_t value) {
    return key(name, 5, GgufBytes().number(value).bytes());
  }
  GgufFile& u16(std::string_view name, uint16_t value) {
    return key(name, 2, GgufBytes().number(value).bytes());
  }
  GgufFile& f32(std::string_view name, float value) {
    return key(name, 6, GgufBytes().number(value).bytes());
  }
  GgufFile& flag(std::string_view name, bool value) {
    return key(name, 7, GgufBytes().number<uint8_t>(value ? 1 : 0).bytes());
  }
  GgufFile& text(std::string_view name, std::string_view value) {
    return key(name, 8, GgufBytes().string(value).bytes());
  }
  GgufFile& texts(std::string_view name, const std::vector<std::string>& values) {
    GgufBytes array;
    array.number<uint32_t>(8).number<uint64_t>(values.size());
    for (const std::string& value : values) array.string(value);
    return key(name, 9, array.bytes());
  }
  GgufFile& i32s(std::string_view name, const std::vector<int32_t>& values) {
    GgufBytes array;
    array.number<uint32_t>(5).number<uint64_t>(values.size());
    for (int32_t value : values) array.number(value);
    return key(name, 9, array.bytes());
  }

  // A tensor where the data so far end; `dims` the fastest first.
  GgufFile& tensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                   const std::string& data) {
    tensor_at(name, dims, type, data_.size());
    data_ += data;
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  // A description without data.
  GgufFile& tensor_at(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                      uint64_t offset) {
    GgufBytes info;
    info.string(name).number(static_cast<uint32_t>(dims.size()));
    for (uint64_t size : dims) info.number(size);
    tensors_ += info.number(type).number(offset).bytes();
    ++tensor_count_;
    return *this;
  }
  GgufFile& data(const std::string& bytes) {
    data_ += bytes;
    return *this;
  }

  // Without the padding before the data and the data.
  std::string header() const {
    return "GGUF" + GgufBytes().number(version).number(tensor_count_).number(key_count_).bytes() +
           keys_ + tensors_;
  }
  std::string bytes() const {
    std::string result = header();
    result.resize((result.size() + alignment - 1) / alignment * alignment);
    return result + data_;
  }

 private:
  std::string keys_, tensors_, data_;
  uint64_t key_count_ = 0, tensor_count_ = 0;
};

}  // namespace flashmoe::format

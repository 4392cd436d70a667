#include "format/gguf_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <type_traits>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "format/gguf_types.h"
#include "format/input_file.h"
#include "format/json_file.h"

namespace flashmoe::format {

namespace {

using nlohmann::json;

constexpr uint64_t kWindowBytes = uint64_t{1} << 20;
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxAlignment = uint64_t{1} << 20;
constexpr int kMaxArrayDepth = 4;
constexpr uint64_t kMaxDims = 4;
constexpr uint64_t kMaxNameBytes = 65535;  // of a key or a tensor
// Fewest bytes that a key with its value, and a tensor's description take.
constexpr uint64_t kLeastKeyBytes = 13, kLeastTensorBytes = 32;

// Ids of the types of metadata.
enum ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
  kValueTypes
};

// Fewest bytes that one value takes.
constexpr std::array<uint8_t, kValueTypes> kValueBytes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

template <typename T>
T from_little_endian(const char* bytes) {
  using Bits = std::conditional_t<
      sizeof(T) == 1, uint8_t,
      std::conditional_t<sizeof(T) == 2, uint16_t,
                         std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>>;
  Bits bits = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    bits = static_cast<Bits>(bits | static_cast<Bits>(static_cast<unsigned char>(bytes[i]))
                                        << (8 * i));
  }
  return std::bit_cast<T>(bits);
}

// Walks through the file's beginning, a window of it in memory.
class Cursor {
 public:
  Cursor(const ReadBytes& read, uint64_t file_bytes, const std::string& path)
      : read_(read), file_bytes_(file_bytes), path_(path) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return file_bytes_ - position_; }

  template <typename T>
  T number(const char* what) {
    return from_little_endian<T>(take(sizeof(T), what));
  }

  std::string string(const char* what, uint64_t max_bytes) {
    const uint64_t begin = position_;
    const uint64_t bytes = number<uint64_t>(what);
    if (bytes > max_bytes) {
      fail(begin,
           fmt::format("{} of {} bytes is longer than the {} allowed", what, bytes, max_bytes));
    }
    return std::string(take(bytes, what), bytes);
  }

  void skip(uint64_t bytes, const char* what) {
    check(bytes, what);
    position_ += bytes;
  }

  [[noreturn]] void fail(uint64_t offset, const std::string& why) const {
    throw_error(ErrorCode::kCorrupt, "{}: at byte {}: {}", path_, offset, why);
  }

 private:
  void check(uint64_t bytes, const char* what) const {
    if (bytes > left()) {
      throw_error(ErrorCode::kCorrupt,
                  "{}: ends at byte {}, within {} at byte {}; its download did not finish or it is "
                  "damaged, fetch it again",
                  path_, file_bytes_, what, position_);
    }
    if (position_ + bytes > kMaxGgufHeaderBytes) {
      fail(position_,
           fmt::format("the header takes more than the {} bytes allowed", kMaxGgufHeaderBytes));
    }
  }

  // The next bytes, valid until the next call.
  const char* take(uint64_t bytes, const char* what) {
    check(bytes, what);
    if (position_ < window_begin_ || position_ + bytes > window_begin_ + window_.size()) {
      window_begin_ = position_;
      window_ = read_(position_, std::min(left(), std::max(bytes, kWindowBytes)));
    }
    const char* begin = window_.data() + (position_ - window_begin_);
    position_ += bytes;
    return begin;
  }

  const ReadBytes& read_;
  const uint64_t file_bytes_;
  const std::string& path_;
  uint64_t position_ = 0;
  uint64_t window_begin_ = 0;
  std::string window_;
};

class HeaderParser {
 public:
  HeaderParser(const ReadBytes& read, uint64_t file_bytes, const std::string& path, int file,
               const KeepArray& keep)
      : cursor_(read, file_bytes, path),
        file_bytes_(file_bytes),
        path_(path),
        file_(file),
        keep_(keep) {}

  GgufHeader parse() {
    parse_version();
    const uint64_t tensors = count("tensors", kLeastTensorBytes);
    const uint64_t keys = count("keys", kLeastKeyBytes);
    for (uint64_t i = 0; i < keys; ++i) parse_key();
    header_.metadata_end = cursor_.position();
    const uint64_t alignment = parse_alignment();
    header_.tensors.reserve(tensors);
    for (uint64_t i = 0; i < tensors; ++i) parse_tensor();
    header_.data_offset = (cursor_.position() + alignment - 1) / alignment * alignment;
    place_tensors(alignment);
    return std::move(header_);
  }

 private:
  [[noreturn]] void fail_tensor(const std::string& name, const std::string& why) const {
    throw_error(ErrorCode::kCorrupt, "{}: tensor {}: {}", path_, brief(name), why);
  }

  void parse_version() {
    if (cursor_.left() < 4 || cursor_.number<uint32_t>("the magic") != 0x46554747) {  // "GGUF"
      cursor_.fail(0, "it is not a GGUF file, which begins with \"GGUF\"");
    }
    header_.version = cursor_.number<uint32_t>("the version");
    if (header_.version == 2 || header_.version == 3) return;
    if ((header_.version & 0xffff) == 0 && header_.version != 0) {
      throw_error(ErrorCode::kUnsupported,
                  "{}: is big-endian; convert it to little-endian with gguf-convert-endian", path_);
    }
    throw_error(ErrorCode::kUnsupported,
                "{}: is GGUF version {}; versions 2 and 3 are supported, so convert the model "
                "again",
                path_, header_.version);
  }

  uint64_t count(const char* what, uint64_t least_bytes) {
    const uint64_t offset = cursor_.position();
    const uint64_t n = cursor_.number<uint64_t>("the counts");
    if (n > kMaxGgufCount || n > cursor_.left() / least_bytes) {
      cursor_.fail(
          offset,
          fmt::format("{} {} are more than {}", n, what,
                      n > kMaxGgufCount
                          ? "the 1048576 allowed"
                          : "the file has room for; its download did not finish or it is damaged"));
    }
    return n;
  }

  void parse_key() {
    const uint64_t offset = cursor_.position();
    const std::string key = cursor_.string("a key", kMaxNameBytes);
    const uint32_t type = cursor_.number<uint32_t>("a key's type");
    keeps_ = type != kArray || keep_(key);
    json value = parse_value(type, 0);
    if (!header_.metadata.emplace(key, std::move(value)).second) {
      cursor_.fail(offset, fmt::format("the key {} comes twice", brief(key)));
    }
    if (!keeps_) header_.metadata.erase(key);
  }

  template <typename T>
  json integer() {
    const T value = cursor_.number<T>("a value");
    // One JSON type for all that are not negative, whatever the width.
    if (value >= 0) return static_cast<uint64_t>(value);
    return static_cast<int64_t>(value);
  }

  json parse_value(uint32_t type, int depth) {
    switch (type) {
      case kU8:
        return integer<uint8_t>();
      case kI8:
        return integer<int8_t>();
      case kU16:
        return integer<uint16_t>();
      case kI16:
        return integer<int16_t>();
      case kU32:
        return integer<uint32_t>();
      case kI32:
        return integer<int32_t>();
      case kU64:
        return integer<uint64_t>();
      case kI64:
        return integer<int64_t>();
      case kF32:
        return double{cursor_.number<float>("a value")};
      case kF64:
        return cursor_.number<double>("a value");
      case kBool: {
        const uint64_t offset = cursor_.position();
        const uint8_t value = cursor_.number<uint8_t>("a value");
        if (value > 1) cursor_.fail(offset, fmt::format("{} is neither true nor false", value));
        return value != 0;
      }
      case kString:
        return cursor_.string("a string", kMaxGgufStringBytes);
      case kArray:
        return parse_array(depth);
      default:
        cursor_.fail(cursor_.position() - 4,
                     fmt::format("{} is no type of a value; is the file damaged?", type));
    }
  }

  json parse_array(int depth) {
    const uint64_t offset = cursor_.position();
    if (depth == kMaxArrayDepth) cursor_.fail(offset, "arrays are nested too deeply");
    const uint32_t type = cursor_.number<uint32_t>("an array's type");
    const uint64_t n = cursor_.number<uint64_t>("an array's length");
    if (type >= kValueTypes) {
      cursor_.fail(offset, fmt::format("{} is no type of a value; is the file damaged?", type));
    }
    if (n > cursor_.left() / kValueBytes[type]) {
      cursor_.fail(offset, fmt::format("an array of {} values is longer than the file", n));
    }
    if (!keeps_ && type != kString && type != kArray) {
      cursor_.skip(n * kValueBytes[type], "an array");
      return nullptr;
    }
    if (keeps_) {
      kept_elements_ += n;
      if (kept_elements_ > kMaxGgufElements) {
        cursor_.fail(offset,
                     fmt::format("arrays of more than the {} values allowed", kMaxGgufElements));
      }
    }
    json::array_t values;
    if (keeps_) values.reserve(n);
    for (uint64_t i = 0; i < n; ++i) {
      if (keeps_) {
        values.push_back(parse_value(type, depth + 1));
      } else if (type == kString) {
        cursor_.skip(cursor_.number<uint64_t>("a string"), "a string");
      } else {
        parse_value(type, depth + 1);
      }
    }
    return values;
  }

  uint64_t parse_alignment() {
    const auto found = header_.metadata.find("general.alignment");
    if (found == header_.metadata.end()) return kDefaultAlignment;
    const uint64_t alignment = found->is_number_unsigned() ? found->get<uint64_t>() : 0;
    if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
      throw_error(ErrorCode::kCorrupt,
                  "{}: general.alignment is {}; it should be a power of two up to {}", path_,
                  brief(*found), kMaxAlignment);
    }
    return alignment;
  }

  // Leaves the offset as it is in the file, relative to the data.
  void parse_tensor() {
    const uint64_t begin = cursor_.position();
    TensorInfo tensor;
    tensor.name = cursor_.string("a tensor's name", kMaxNameBytes);
    if (!names_.insert(tensor.name).second) {
      cursor_.fail(begin, fmt::format("the tensor {} comes twice", brief(tensor.name)));
    }
    const uint32_t dims = cursor_.number<uint32_t>("a tensor");
    if (dims < 1 || dims > kMaxDims) {
      fail_tensor(tensor.name, fmt::format("{} dimensions; 1 to {} are possible", dims, kMaxDims));
    }
    for (uint32_t i = 0; i < dims; ++i) {
      const uint64_t size = cursor_.number<uint64_t>("a tensor");
      if (size < 1 || size > uint64_t{1} << 62) {
        fail_tensor(tensor.name, fmt::format("a dimension of {}", size));
      }
      tensor.shape.push_back(static_cast<int64_t>(size));
    }
    std::reverse(tensor.shape.begin(), tensor.shape.end());  // the file has the fastest first
    set_type(cursor_.number<uint32_t>("a tensor"), &tensor);
    tensor.extent.file = file_;
    tensor.extent.offset = cursor_.number<uint64_t>("a tensor");
    header_.tensors.push_back(std::move(tensor));
  }

  void set_type(uint32_t id, TensorInfo* tensor) const {
    const std::optional<GgufType> type = gguf_type(id);
    if (!type) {
      throw_error(
          ErrorCode::kUnsupported,
          "{}: tensor {}: its type {} is not known; is the file damaged, or newer than this "
          "program?",
          path_, brief(tensor->name), id);
    }
    tensor->dtype = type->dtype;
    tensor->dtype_name = type->name;
    const std::string shape = fmt::format("{} [{}]", type->name, fmt::join(tensor->shape, ", "));
    if (tensor->shape.back() % type->block_inputs != 0) {
      fail_tensor(tensor->name,
                  fmt::format("{}: its rows are no multiple of the type's blocks of {}", shape,
                              type->block_inputs));
    }
    auto bytes = static_cast<uint64_t>(type->block_bytes);
    bool overflow = false;
    for (size_t i = 0; i < tensor->shape.size(); ++i) {
      const bool is_row = i + 1 == tensor->shape.size();
      const int64_t n = is_row ? tensor->shape[i] / type->block_inputs : tensor->shape[i];
      overflow = overflow || __builtin_mul_overflow(bytes, static_cast<uint64_t>(n), &bytes);
    }
    if (overflow || bytes > uint64_t{1} << 62) fail_tensor(tensor->name, shape + " overflows");
    tensor->extent.bytes = bytes;
  }

  // Checks that the tensors' data follow each other, each padded to the alignment, and turns their
  // offsets into the file's.
  void place_tensors(uint64_t alignment) {
    std::vector<TensorInfo*> by_offset;
    for (TensorInfo& tensor : header_.tensors) by_offset.push_back(&tensor);
    std::sort(by_offset.begin(), by_offset.end(), [](const TensorInfo* a, const TensorInfo* b) {
      return a->extent.offset < b->extent.offset;
    });
    uint64_t expected = 0;
    for (size_t i = 0; i < by_offset.size(); ++i) {
      TensorInfo& tensor = *by_offset[i];
      Extent& extent = tensor.extent;
      if (extent.offset < expected) {
        fail_tensor(tensor.name, fmt::format("its bytes at {} overlap those of {}",
                                             header_.data_offset + extent.offset,
                                             brief(by_offset[i - 1]->name)));
      }
      if (extent.offset > expected) {
        fail_tensor(tensor.name, fmt::format("it begins at byte {}, but the data before ends at {}",
                                             header_.data_offset + extent.offset,
                                             header_.data_offset + expected));
      }
      extent.offset += header_.data_offset;
      if (extent.offset > file_bytes_ || extent.bytes > file_bytes_ - extent.offset) {
        fail_tensor(tensor.name,
                    fmt::format("its {} bytes begin at {}, but the file has {}; its download did "
                                "not finish or it is damaged, fetch it again",
                                extent.bytes, extent.offset, file_bytes_));
      }
      expected += (extent.bytes + alignment - 1) / alignment * alignment;
    }
  }

  Cursor cursor_;
  const uint64_t file_bytes_;
  const std::string& path_;
  const int file_;
  const KeepArray& keep_;
  GgufHeader header_;
  std::unordered_set<std::string> names_;
  bool keeps_ = true;  // the value being read
  uint64_t kept_elements_ = 0;
};

}  // namespace

GgufHeader parse_gguf_header(const ReadBytes& read, uint64_t file_bytes, const std::string& path,
                             int file, const KeepArray& keep) {
  return HeaderParser(read, file_bytes, path, file, keep).parse();
}

GgufHeader read_gguf_header(const std::string& path, int file, const KeepArray& keep) {
  const io::File input = open_input(path);
  const auto read = [&](uint64_t offset, uint64_t bytes) {
    return read_text(input, offset, bytes);
  };
  return parse_gguf_header(read, input.size(), path, file, keep);
}

std::string gguf_without_tensors(const std::string& path) {
  constexpr size_t kCountOffset = 8, kCountBytes = 8;  // of the tensors, behind magic and version
  const GgufHeader header = read_gguf_header(path, 0, [](std::string_view) { return false; });
  std::string bytes = read_text(open_input(path), 0, header.metadata_end);
  bytes.replace(kCountOffset, kCountBytes, kCountBytes, '\0');
  return bytes;
}

}  // namespace flashmoe::format

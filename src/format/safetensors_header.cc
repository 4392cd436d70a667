#include "format/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "format/input_file.h"
#include "format/json_file.h"

namespace flashmoe::format {

namespace {

using nlohmann::json;
using quant::DType;

constexpr size_t kMaxRank = 16;

// A JSON integer in [0, 2^63), else nothing.
std::optional<uint64_t> as_size(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const uint64_t size = value.get<uint64_t>();
  if (size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return size;
}

class HeaderParser {
 public:
  HeaderParser(const std::string& path, int file, uint64_t data_offset, uint64_t file_bytes)
      : path_(path), file_(file), data_offset_(data_offset), file_bytes_(file_bytes) {}

  TensorInfo parse(const std::string& name, const json& entry) const {
    TensorInfo tensor;
    tensor.name = name;
    if (!entry.is_object()) fail(name, "its description is not a JSON object");
    const json& dtype = member(name, entry, "dtype");
    if (!dtype.is_string()) fail(name, "its dtype is not a string");
    tensor.dtype_name = dtype.get<std::string>();
    tensor.dtype = quant::dtype_named(tensor.dtype_name);
    tensor.shape = parse_shape(name, member(name, entry, "shape"));
    tensor.extent = parse_range(name, member(name, entry, "data_offsets"));
    check_bytes(tensor);
    return tensor;
  }

  // The ranges together must cover the data exactly.
  void check_cover(const std::vector<TensorInfo>& tensors) const {
    std::vector<const TensorInfo*> order(tensors.size());
    std::transform(tensors.begin(), tensors.end(), order.begin(), [](auto& t) { return &t; });
    std::sort(order.begin(), order.end(), [](const TensorInfo* a, const TensorInfo* b) {
      return std::pair(a->extent.offset, a->extent.bytes) <
             std::pair(b->extent.offset, b->extent.bytes);
    });
    uint64_t end = data_offset_;
    const TensorInfo* last = nullptr;
    for (const TensorInfo* tensor : order) {
      const Extent& extent = tensor->extent;
      if (extent.offset < end) {
        fail(tensor->name,
             fmt::format("its bytes at {} overlap those of {}", extent.offset, last->name));
      }
      if (extent.offset > end) {
        fail(tensor->name, fmt::format("the {} bytes before it at {} belong to no tensor",
                                       extent.offset - end, end));
      }
      end = extent.offset + extent.bytes;
      last = tensor;
    }
    if (end < file_bytes_) {
      throw_error(ErrorCode::kCorrupt, "{}: its last {} bytes belong to no tensor", path_,
                  file_bytes_ - end);
    }
  }

 private:
  [[noreturn]] void fail(const std::string& tensor, const std::string& what) const {
    throw_error(ErrorCode::kCorrupt, "{}: tensor {}: {}", path_, tensor, what);
  }

  const json& member(const std::string& tensor, const json& entry, const char* key) const {
    const auto found = entry.find(key);
    if (found == entry.end()) fail(tensor, fmt::format("its description has no {}", key));
    return *found;
  }

  std::vector<int64_t> parse_shape(const std::string& name, const json& value) const {
    if (!value.is_array()) fail(name, "its shape is not a list");
    if (value.size() > kMaxRank) {
      fail(name, fmt::format("its shape has {} dimensions, more than {}", value.size(), kMaxRank));
    }
    std::vector<int64_t> shape;
    for (const json& dimension : value) {
      const std::optional<uint64_t> size = as_size(dimension);
      if (!size) fail(name, fmt::format("its shape {} is not one of sizes", brief(value)));
      shape.push_back(static_cast<int64_t>(*size));
    }
    return shape;
  }

  Extent parse_range(const std::string& name, const json& value) const {
    std::optional<uint64_t> begin, end;
    if (value.is_array() && value.size() == 2) {
      begin = as_size(value[0]);
      end = as_size(value[1]);
    }
    if (!begin || !end || *begin > *end) {
      fail(name, fmt::format("its data_offsets {} are not a byte range", brief(value)));
    }
    const uint64_t data_bytes = file_bytes_ - data_offset_;
    if (*end > data_bytes) {
      fail(name, fmt::format("its bytes end at {}, but the file has {}; its download did not "
                             "finish or it is damaged, fetch it again",
                             data_offset_ + *end, file_bytes_));
    }
    return {file_, data_offset_ + *begin, *end - *begin};
  }

  // The range must have as many bytes as shape and type say.
  void check_bytes(const TensorInfo& tensor) const {
    uint64_t elements = 1;
    const bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
    for (int64_t size : tensor.shape) {
      if (!empty && __builtin_mul_overflow(elements, static_cast<uint64_t>(size), &elements)) {
        fail(tensor.name, fmt::format("its shape [{}] overflows", fmt::join(tensor.shape, ", ")));
      }
    }
    if (tensor.dtype == DType::kOther) return;
    uint64_t bytes = 0;
    if (!empty &&
        __builtin_mul_overflow(elements, uint64_t{quant::dtype_bytes(tensor.dtype)}, &bytes)) {
      fail(tensor.name, fmt::format("its shape [{}] overflows", fmt::join(tensor.shape, ", ")));
    }
    if (bytes != tensor.extent.bytes) {
      fail(tensor.name,
           fmt::format("{} [{}] takes {} bytes, but its data_offsets span {}", tensor.dtype_name,
                       fmt::join(tensor.shape, ", "), bytes, tensor.extent.bytes));
    }
  }

  const std::string& path_;
  int file_;
  uint64_t data_offset_;
  uint64_t file_bytes_;
};

}  // namespace

uint64_t safetensors_json_bytes(std::string_view prefix, uint64_t file_bytes,
                                const std::string& path) {
  if (file_bytes < kSafetensorsPrefixBytes || prefix.size() < kSafetensorsPrefixBytes) {
    throw_error(ErrorCode::kCorrupt,
                "{}: has {} bytes, too few for a safetensors file; fetch it again", path,
                file_bytes);
  }
  uint64_t json_bytes = 0;
  for (int i = 7; i >= 0; --i) {
    json_bytes = json_bytes << 8 | static_cast<unsigned char>(prefix[static_cast<size_t>(i)]);
  }
  if (json_bytes > file_bytes - kSafetensorsPrefixBytes) {
    throw_error(ErrorCode::kCorrupt,
                "{}: its header should take {} bytes, but the file has {}; it is not a safetensors "
                "file, is damaged, or its download did not finish",
                path, json_bytes, file_bytes);
  }
  if (json_bytes > kMaxSafetensorsHeaderBytes) {
    throw_error(ErrorCode::kCorrupt, "{}: its header takes {} bytes, more than the {} allowed",
                path, json_bytes, kMaxSafetensorsHeaderBytes);
  }
  return json_bytes;
}

std::vector<TensorInfo> parse_safetensors_json(std::string_view text, uint64_t file_bytes,
                                               const std::string& path, int file) {
  const json header = parse_json(text, path + ": its header");
  if (!header.is_object()) {
    throw_error(ErrorCode::kCorrupt, "{}: its header is not a JSON object", path);
  }
  const HeaderParser parser(path, file, kSafetensorsPrefixBytes + text.size(), file_bytes);
  std::vector<TensorInfo> tensors;
  tensors.reserve(header.size());
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") tensors.push_back(parser.parse(name, entry));
  }
  parser.check_cover(tensors);
  return tensors;
}

std::vector<TensorInfo> read_safetensors_header(const std::string& path, int file) {
  const io::File input = open_input(path);
  const uint64_t prefix_bytes = std::min(input.size(), kSafetensorsPrefixBytes);
  const uint64_t json_bytes =
      safetensors_json_bytes(read_text(input, 0, prefix_bytes), input.size(), path);
  return parse_safetensors_json(read_text(input, kSafetensorsPrefixBytes, json_bytes), input.size(),
                                path, file);
}

}  // namespace flashmoe::format

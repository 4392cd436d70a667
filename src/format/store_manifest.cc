#include "format/store_manifest.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "format/gguf_types.h"
#include "format/json_file.h"
#include "quant/interleaved.h"

namespace flashmoe::format {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kFormatName = "flashmoe store";
constexpr size_t kMaxRank = 16;
constexpr uint64_t kMaxRecordBytes = uint64_t{1} << 30;  // of what is read and checked at once
constexpr std::string_view kExpertPlace = "{}";
constexpr uint64_t kMaxGroup = 128;

std::string checksums_text(const std::vector<uint64_t>& values) {
  std::string text;
  text.reserve(values.size() * kChecksumDigits);
  for (const uint64_t value : values) text += checksum_text(value);
  return text;
}

// A value of the manifest with its place in it, for messages.
class Value {
 public:
  Value(const json& value, std::string place, const std::string& source)
      : value_(value), place_(std::move(place)), source_(source) {}

  const std::string& place() const { return place_; }
  [[noreturn]] void fail(const std::string& what) const {
    throw_error(ErrorCode::kCorrupt, "{}: {}: {}", source_, place_, what);
  }

  bool has(const char* key) const { return value_.is_object() && value_.contains(key); }
  Value at(const char* key) const {
    if (!value_.is_object()) fail("is not an object");
    const auto found = value_.find(key);
    if (found == value_.end()) fail(fmt::format("has no {}", key));
    return {*found, place_ + "." + key, source_};
  }
  // Calls use(Value) for each element of a list.
  template <typename F>
  void each(F&& use) const {
    if (!value_.is_array()) fail(fmt::format("{} is not a list", brief(value_)));
    for (size_t i = 0; i < value_.size(); ++i) {
      use(Value(value_[i], fmt::format("{}[{}]", place_, i), source_));
    }
  }
  size_t size() const { return value_.size(); }

  std::string text() const {
    if (!value_.is_string()) fail(fmt::format("{} is not a text", brief(value_)));
    return value_.get<std::string>();
  }
  uint64_t number(uint64_t least, uint64_t most) const {
    if (!value_.is_number_unsigned() || value_.get<uint64_t>() < least ||
        value_.get<uint64_t>() > most) {
      fail(fmt::format("{} is no whole number from {} to {}", brief(value_), least, most));
    }
    return value_.get<uint64_t>();
  }
  std::vector<int64_t> shape() const {
    std::vector<int64_t> result;
    each([&](const Value& size) {
      result.push_back(static_cast<int64_t>(size.number(0, std::numeric_limits<int64_t>::max())));
    });
    if (result.size() > kMaxRank) fail("has too many dimensions");
    return result;
  }
  // `count` checksums.
  std::vector<uint64_t> checksums(uint64_t count) const {
    const std::string digits = text();
    if (digits.size() / kChecksumDigits != count || digits.size() % kChecksumDigits != 0) {
      fail(fmt::format("has {} digits, not {} for each of {} records", digits.size(),
                       kChecksumDigits, count));
    }
    std::vector<uint64_t> result;
    result.reserve(count);
    for (size_t i = 0; i < digits.size(); i += kChecksumDigits) {
      const auto value = parse_checksum(std::string_view(digits).substr(i, kChecksumDigits));
      if (!value) fail("has other characters than 0 to 9 and a to f");
      result.push_back(*value);
    }
    return result;
  }

 private:
  const json& value_;
  const std::string place_;
  const std::string& source_;
};

class ManifestParser {
 public:
  StoreManifest parse(const Value& root) {
    StoreManifest manifest;
    if (root.at("format").text() != kFormatName) {
      root.at("format").fail(fmt::format("is not \"{}\"", kFormatName));
    }
    manifest.convention = root.at("convention").text();
    root.at("weights").each(
        [&](const Value& file) { manifest.weights.push_back(parse_weights(file)); });
    root.at("companions").each([&](const Value& file) {
      manifest.companions.push_back({file_name(file.at("file")),
                                     file.at("bytes").number(0, kMaxFileBytes),
                                     file.at("xxh3").checksums(1).front()});
    });
    return manifest;
  }

 private:
  static constexpr uint64_t kMaxFileBytes = uint64_t{1} << 48;

  // Names of files are plain: they stay in the store's folder, and none comes twice.
  std::string file_name(const Value& value) {
    std::string name = value.text();
    if (name.empty() || name.front() == '.' || name.size() > 255 ||
        name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos) {
      value.fail("is not a plain file name");
    }
    if (!file_names_.insert(name).second) value.fail(fmt::format("{} is there twice", name));
    return name;
  }

  StoreManifest::WeightFile parse_weights(const Value& value) {
    StoreManifest::WeightFile file;
    file.name = file_name(value.at("file"));
    file.records.content_bytes = value.at("bytes").number(0, kMaxFileBytes);
    file.records.record_bytes = value.at("record_bytes").number(1, kMaxRecordBytes);
    file.records.xxh3 = value.at("xxh3").checksums(file.records.count());
    if (value.has("tensors")) {
      value.at("tensors").each(
          [&](const Value& tensor) { file.tensors.push_back(parse_tensor(tensor, file)); });
    }
    if (value.has("experts")) {
      const Value experts = value.at("experts");
      file.experts = static_cast<int64_t>(experts.number(1, kMaxStoreExperts));
      if (file.records.content_bytes !=
          static_cast<uint64_t>(file.experts) * file.records.record_bytes) {
        experts.fail("is not the number of the file's records");
      }
      value.at("parts").each(
          [&](const Value& part) { file.parts.push_back(parse_part(part, file)); });
    }
    tensors_ += file.tensors.size() + file.parts.size() * static_cast<size_t>(file.experts);
    if (tensors_ > kMaxStoreTensors) value.fail("brings more tensors than a model has");
    return file;
  }

  // Name, type, shape and place of a tensor, or of a part, within `limit` bytes.
  template <typename T>
  static void parse_place(const Value& value, uint64_t limit, T* result) {
    result->dtype = value.at("dtype").text();
    result->shape = value.at("shape").shape();
    result->bytes = value.at("bytes").number(0, limit);
    result->offset = value.at("offset").number(0, limit - result->bytes);
  }

  static StoreManifest::Tensor parse_tensor(const Value& value,
                                            const StoreManifest::WeightFile& file) {
    StoreManifest::Tensor tensor;
    tensor.name = value.at("name").text();
    parse_place(value, file.records.content_bytes, &tensor);
    check_bytes(value, tensor.dtype, tensor.shape, tensor.bytes);
    return tensor;
  }

  static StoreManifest::Part parse_part(const Value& value, const StoreManifest::WeightFile& file) {
    StoreManifest::Part part;
    part.each = value.has("names");
    part.name = value.at(part.each ? "names" : "name").text();
    parse_place(value, file.records.record_bytes, &part);
    if (value.has("interleaved")) part.interleaved = parse_format(value.at("interleaved"), part);
    std::vector<int64_t> slice = part.shape;
    if (part.each) {
      if (part.name.find(kExpertPlace) == std::string::npos) value.fail("its names have no {}");
    } else {
      if (slice.empty() || slice.front() != file.experts) {
        value.fail("its first dimension is not the number of experts");
      }
      slice.erase(slice.begin());
    }
    if (part.interleaved) {
      check_matrix(value, *part.interleaved, slice, part.bytes);
    } else {
      check_bytes(value, part.dtype, slice, part.bytes);
    }
    return part;
  }

  // The format of an interleaved part, whose dtype is that of its scales, elements or blocks.
  static quant::Format parse_format(const Value& value, const StoreManifest::Part& part) {
    std::optional<quant::Format> format;
    if (value.has("bits")) {
      format = {quant::Encoding::kAffine, quant::dtype_named(part.dtype),
                static_cast<int>(value.at("bits").number(1, 8)),
                static_cast<int>(value.at("group").number(1, kMaxGroup))};
    } else {
      format = gguf_format(part.dtype);
    }
    if (!format || !quant::can_restore(*format)) {
      value.fail(
          fmt::format("with type {} is no format that can be interleaved", brief(part.dtype)));
    }
    return *format;
  }

  static void check_matrix(const Value& value, const quant::Format& format,
                           const std::vector<int64_t>& shape, uint64_t bytes) {
    if (shape.size() != 2) value.fail("its shape is not that of a matrix for each expert");
    const int64_t rows = shape[0], cols = shape[1];
    // A weight has a bit at least, so that what fits a record keeps sizes from overflowing.
    const auto most = static_cast<int64_t>(8 * kMaxRecordBytes);
    const int64_t unit = format.encoding == quant::Encoding::kBlocks
                             ? quant::block_info(format.block).inputs
                             : std::max(format.group, 1);
    if (rows < 1 || cols < 1 || rows > most / cols || cols % unit != 0) {
      value.fail("its shape does not suit its format");
    }
    if (bytes != quant::interleaved_bytes(format, rows, cols)) {
      value.fail("its bytes are not those of format and shape");
    }
  }

  // What shape and type say, where the type is one whose size is known here.
  static void check_bytes(const Value& value, const std::string& dtype,
                          const std::vector<int64_t>& shape, uint64_t bytes) {
    const quant::DType type = quant::dtype_named(dtype);
    if (type == quant::DType::kOther) return;
    uint64_t expected = quant::dtype_bytes(type);
    const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
    for (const int64_t size : shape) {
      if (!empty && __builtin_mul_overflow(expected, static_cast<uint64_t>(size), &expected)) {
        value.fail("its shape overflows");
      }
    }
    if (bytes != (empty ? 0 : expected)) value.fail("its bytes are not those of type and shape");
  }

  std::set<std::string> file_names_ = {kStoreManifestName, kStoreChecksumName};
  size_t tensors_ = 0;
};

template <typename T>
ordered_json place_json(const char* name_key, const T& tensor) {
  ordered_json entry;
  entry[name_key] = tensor.name;
  entry["dtype"] = tensor.dtype;
  entry["shape"] = tensor.shape;
  entry["offset"] = tensor.offset;
  entry["bytes"] = tensor.bytes;
  return entry;
}

// What the part's type leaves open.
ordered_json format_json(const quant::Format& format) {
  if (format.encoding != quant::Encoding::kAffine) return ordered_json::object();
  return {{"bits", format.bits}, {"group", format.group}};
}

ordered_json part_json(const StoreManifest::Part& part) {
  ordered_json entry = place_json(part.each ? "names" : "name", part);
  if (part.interleaved) entry["interleaved"] = format_json(*part.interleaved);
  return entry;
}

}  // namespace

std::string store_manifest_text(const StoreManifest& manifest) {
  ordered_json root;
  root["format"] = kFormatName;
  root["version"] = kStoreVersion;
  root["convention"] = manifest.convention;
  root["weights"] = ordered_json::array();
  for (const StoreManifest::WeightFile& file : manifest.weights) {
    ordered_json entry;
    entry["file"] = file.name;
    entry["bytes"] = file.records.content_bytes;
    entry["record_bytes"] = file.records.record_bytes;
    if (file.experts > 0) {
      entry["experts"] = file.experts;
      for (const StoreManifest::Part& part : file.parts) {
        entry["parts"].push_back(part_json(part));
      }
    } else {
      entry["tensors"] = ordered_json::array();
      for (const StoreManifest::Tensor& tensor : file.tensors) {
        entry["tensors"].push_back(place_json("name", tensor));
      }
    }
    entry["xxh3"] = checksums_text(file.records.xxh3);
    root["weights"].push_back(std::move(entry));
  }
  root["companions"] = ordered_json::array();
  for (const StoreManifest::Companion& file : manifest.companions) {
    root["companions"].push_back(
        {{"file", file.name}, {"bytes", file.bytes}, {"xxh3", checksum_text(file.xxh3)}});
  }
  return root.dump(1) + "\n";
}

StoreManifest parse_store_manifest(std::string_view text, const std::string& source) {
  const json document = parse_json(text, source);
  const Value root(document, "the manifest", source);
  const uint64_t version = root.at("version").number(1, std::numeric_limits<uint64_t>::max());
  if (version > kStoreVersion) {
    throw_error(
        ErrorCode::kUnsupported,
        "{}: is of version {}, and this flashmoe knows versions to {}; pack the model again "
        "or take a newer flashmoe",
        source, version, kStoreVersion);
  }
  return ManifestParser().parse(root);
}

std::vector<TensorInfo> store_tensors(const StoreManifest& manifest, const std::string& source) {
  std::vector<TensorInfo> tensors;
  for (size_t f = 0; f < manifest.weights.size(); ++f) {
    const StoreManifest::WeightFile& file = manifest.weights[f];
    const int number = static_cast<int>(f);
    const auto add = [&](const auto& what, std::string name, const Extent& extent,
                         uint64_t stride) {
      tensors.push_back({std::move(name), quant::dtype_named(what.dtype), what.shape, extent,
                         what.dtype, stride});
    };
    for (const StoreManifest::Tensor& tensor : file.tensors) {
      add(tensor, tensor.name, {number, tensor.offset, tensor.bytes}, 0);
    }
    for (const StoreManifest::Part& part : file.parts) {
      const auto experts = static_cast<uint64_t>(file.experts);
      const uint64_t record_bytes = file.records.record_bytes;
      if (!part.each) {
        add(part, part.name, {number, part.offset, experts * part.bytes}, record_bytes);
        tensors.back().interleaved = part.interleaved;
        continue;
      }
      const size_t place = part.name.find(kExpertPlace);
      for (uint64_t e = 0; e < experts; ++e) {
        std::string name = part.name;
        name.replace(place, kExpertPlace.size(), std::to_string(e));
        add(part, std::move(name), {number, e * record_bytes + part.offset, part.bytes}, 0);
        tensors.back().interleaved = part.interleaved;
      }
    }
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  const auto twice =
      std::adjacent_find(tensors.begin(), tensors.end(),
                         [](const auto& a, const auto& b) { return a.name == b.name; });
  if (twice != tensors.end()) {
    throw_error(ErrorCode::kCorrupt, "{}: tensor {} is there twice", source, twice->name);
  }
  return tensors;
}

}  // namespace flashmoe::format

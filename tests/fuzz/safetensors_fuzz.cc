// Fuzzes the reader of safetensors headers and the search for matrices in them. The input is 8
// bytes of length, 2 bytes that say how much data follows the header, the header's JSON and, after
// a byte 0xff, a config.json. What is accepted must lie within the file and fit together.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "format/checkpoint.h"
#include "format/json_file.h"
#include "format/matrix.h"
#include "format/quantization.h"
#include "format/safetensors_header.h"

namespace {

using flashmoe::Error;
using namespace flashmoe::format;

class FuzzedCheckpoint : public Checkpoint {
 public:
  FuzzedCheckpoint(std::vector<TensorInfo> tensors, nlohmann::json config)
      : tensors_(std::move(tensors)),
        config_(std::move(config)),
        quantization_(parse_quantization(config_, "config")) {}

  const std::string& path() const override { return files_[0]; }
  const std::vector<std::string>& files() const override { return files_; }
  const nlohmann::json& config() const override { return config_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(std::string_view name) const override {
    for (const TensorInfo& tensor : tensors_) {
      if (tensor.name == name) return &tensor;
    }
    return nullptr;
  }

 private:
  std::optional<MatrixInfo> resolve_matrix(std::string_view prefix,
                                           std::optional<int64_t> expected_cols) const override {
    return flashmoe::format::resolve_matrix(*this, quantization_, prefix, expected_cols);
  }

  std::vector<std::string> files_ = {"file"};
  std::vector<TensorInfo> tensors_;
  nlohmann::json config_;
  QuantizationConfig quantization_;
};

// Unpacks zeros of the sizes found: nothing may be read past them.
void unpack(const MatrixInfo& m) {
  const auto zeros = [](const Extent& part) { return std::vector<std::byte>(part.bytes); };
  const std::vector<std::byte> codes = zeros(m.codes), scales = zeros(m.scales),
                               biases = zeros(m.biases);
  const auto rows = static_cast<size_t>(m.rows);
  std::vector<std::byte> out[3] = {std::vector<std::byte>(rows * m.format.code_bytes(m.cols)),
                                   std::vector<std::byte>(rows * m.format.scale_bytes(m.cols)),
                                   std::vector<std::byte>(rows * m.format.bias_bytes(m.cols))};
  flashmoe::quant::unpack_rows({m.storage, m.format, m.rows, m.cols, codes.data(), scales.data(),
                                biases.empty() ? nullptr : biases.data()},
                               nullptr, 0, m.rows, out[0].data(), out[1].data(), out[2].data());
}

void check_matrix(const Checkpoint& checkpoint, std::string_view prefix,
                  std::optional<int64_t> expected_cols) {
  try {
    const std::optional<MatrixInfo> matrix = checkpoint.find_matrix(prefix, expected_cols);
    if (!matrix) return;
    const auto rows = static_cast<uint64_t>(matrix->count * matrix->rows);
    CHECK(matrix->count > 0 && matrix->rows > 0 && matrix->cols > 0);
    CHECK(matrix->cols == expected_cols.value_or(matrix->cols));
    CHECK(matrix->file_bytes() > 0 && !matrix->tensors.empty());
    if (!matrix->storage.in_rows()) {
      unpack(*matrix);
      return;
    }
    CHECK(matrix->codes.bytes == rows * matrix->format.code_bytes(matrix->cols));
    CHECK(matrix->scales.bytes == rows * matrix->format.scale_bytes(matrix->cols));
    CHECK(matrix->biases.bytes == rows * matrix->format.bias_bytes(matrix->cols));
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    CHECK(safetensors_json_bytes(input.substr(0, 8), size, "file") <= size - 8);
  } catch (const Error&) {
  }
  if (size < 10) return 0;
  std::string_view json = input.substr(10);
  std::string_view config_text = "{}";
  if (const size_t end = json.find('\xff'); end != std::string_view::npos) {
    config_text = json.substr(end + 1);
    json = json.substr(0, end);
  }
  const uint64_t data_bytes = uint64_t{data[8]} | uint64_t{data[9]} << 8;
  const uint64_t file_bytes = 8 + json.size() + data_bytes;
  try {
    std::vector<TensorInfo> tensors = parse_safetensors_json(json, file_bytes, "file", 0);
    uint64_t total_bytes = 0;
    for (const TensorInfo& tensor : tensors) {
      CHECK(tensor.extent.offset >= 8 + json.size());
      CHECK(tensor.extent.offset + tensor.extent.bytes <= file_bytes);
      total_bytes += tensor.extent.bytes;
    }
    CHECK(total_bytes == data_bytes);
    nlohmann::json config = parse_json(config_text, "config");
    if (!config.is_object()) return 0;
    const FuzzedCheckpoint checkpoint(std::move(tensors), std::move(config));
    for (const TensorInfo& tensor : checkpoint.tensors()) {
      const std::string_view name = tensor.name;
      const std::string_view prefix = name.ends_with(".weight")    ? name.substr(0, name.size() - 7)
                                      : name.ends_with(".qweight") ? name.substr(0, name.size() - 8)
                                      : name.ends_with(".weight_packed")
                                          ? name.substr(0, name.size() - 14)
                                          : name;
      check_matrix(checkpoint, prefix, std::nullopt);
      check_matrix(checkpoint, prefix, 64);
    }
  } catch (const Error&) {
  }
  return 0;
}

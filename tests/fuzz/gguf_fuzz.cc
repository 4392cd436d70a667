// Fuzzes the reader of GGUF headers, and what is made of the metadata: the model's config, its
// tokenizer and template. The input is a file. What is accepted must lie within the file.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "format/gguf_header.h"
#include "format/gguf_types.h"
#include "model/checkpoint_config.h"
#include "text/gguf_text.h"
#include "text/tokenizer.h"

namespace {

using flashmoe::Error;
using namespace flashmoe::format;

class FuzzedCheckpoint : public Checkpoint {
 public:
  explicit FuzzedCheckpoint(const GgufHeader& header) : header_(header) {}
  const std::string& path() const override { return files_[0]; }
  const std::vector<std::string>& files() const override { return files_; }
  const nlohmann::json& config() const override { return header_.metadata; }
  const std::vector<TensorInfo>& tensors() const override { return header_.tensors; }
  const TensorInfo* find(std::string_view name) const override {
    for (const TensorInfo& tensor : header_.tensors) {
      if (tensor.name == name) return &tensor;
    }
    return nullptr;
  }

 private:
  std::optional<MatrixInfo> resolve_matrix(std::string_view,
                                           std::optional<int64_t>) const override {
    return std::nullopt;
  }
  const GgufHeader& header_;
  std::vector<std::string> files_ = {"file"};
};

void check_tensors(const GgufHeader& header, uint64_t file_bytes) {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const TensorInfo& tensor : header.tensors) {
    CHECK(tensor.extent.offset >= header.data_offset);
    CHECK(tensor.extent.offset + tensor.extent.bytes <= file_bytes);
    ranges.emplace_back(tensor.extent.offset, tensor.extent.offset + tensor.extent.bytes);
    if (const auto format = gguf_format(tensor.dtype_name)) {
      uint64_t rows = 1;
      for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) {
        rows *= static_cast<uint64_t>(tensor.shape[i]);
      }
      CHECK(tensor.extent.bytes == rows * format->row_bytes(tensor.shape.back()));
    }
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) CHECK(ranges[i - 1].second <= ranges[i].first);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto read = [&](uint64_t offset, uint64_t n) {
    CHECK(offset <= bytes.size() && n <= bytes.size() - offset);
    return bytes.substr(offset, n);
  };
  GgufHeader header;
  try {
    parse_gguf_header(read, size, "file", 0, [](std::string_view) { return false; });
    header = parse_gguf_header(read, size, "file", 0, [](std::string_view) { return true; });
  } catch (const Error&) {
    return 0;
  }
  check_tensors(header, size);
  try {
    const FuzzedCheckpoint checkpoint(header);
    if (header.metadata.contains("general.architecture")) {
      flashmoe::model::read_model_config(checkpoint);
    }
  } catch (const Error&) {
  }
  try {
    const flashmoe::text::GgufText text(header.metadata, "file");
    const flashmoe::text::Tokenizer tokenizer(text.tokenizer());
    const std::vector<int32_t> ids = tokenizer.encode("Hello <|im_end|> \xc3\xa9 123\n", true);
    tokenizer.decode(ids, false);
    text.chat_template(true);
  } catch (const Error&) {
  }
  return 0;
}

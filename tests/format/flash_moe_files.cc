#include "tests/format/flash_moe_files.h"

#include <fmt/format.h>
#include <lz4.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <stdexcept>
#include <vector>

#include "format/checkpoint.h"
#include "format/content_reader.h"
#include "format/safetensors_writer.h"
#include "quant/decode.h"
#include "quant/encode.h"

namespace flashmoe::format {

namespace fs = std::filesystem;

namespace {

using nlohmann::json;

constexpr const char* kParts[] = {"weight", "scales", "biases"};

void write(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  out << bytes;
  if (!out.good()) throw std::runtime_error("cannot write " + path.string());
}

std::string number(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

class Source {
 public:
  explicit Source(const std::string& folder)
      : checkpoint_(Checkpoint::open(folder)), reader_(*checkpoint_, Checksums::kIgnore) {}
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const json& text() const { return checkpoint_->config().at("text_config"); }
  std::string bytes(const TensorInfo& tensor) const {
    std::string result(tensor.extent.bytes, '\0');
    reader_.read(tensor.extent, reinterpret_cast<std::byte*>(result.data()));
    return result;
  }

 private:
  std::unique_ptr<Checkpoint> checkpoint_;
  ContentReader reader_;
};

bool is_expert(const TensorInfo& tensor) {
  return tensor.name.find(".switch_mlp.") != std::string::npos;
}

// The three parts of a stack of matrices, rounded anew to 2 bits.
std::map<std::string, std::string> two_bits(const Source& source, const std::string& matrix) {
  const auto info = source.checkpoint().find_matrix(matrix);
  const quant::Format to = {quant::Encoding::kAffine, info->format.dtype, 2, 64};
  std::map<std::string, std::string> from, result;
  for (const char* part : kParts) {
    from[part] = source.bytes(*source.checkpoint().find(matrix + "." + part));
  }
  const int64_t rows = info->count * info->rows;
  result["weight"].resize(static_cast<size_t>(rows) * to.code_bytes(info->cols));
  result["scales"].resize(static_cast<size_t>(rows) * to.scale_bytes(info->cols));
  result["biases"].resize(result["scales"].size());
  std::vector<float> row(static_cast<size_t>(info->cols));
  for (int64_t r = 0; r < rows; ++r) {
    const auto at = [&](std::map<std::string, std::string>& parts, const char* part,
                        size_t row_bytes) {
      return reinterpret_cast<std::byte*>(parts[part].data()) + static_cast<size_t>(r) * row_bytes;
    };
    const size_t scale_bytes = to.scale_bytes(info->cols);
    quant::decode_row(info->format, info->cols,
                      at(from, "weight", info->format.code_bytes(info->cols)),
                      at(from, "scales", scale_bytes), at(from, "biases", scale_bytes), row.data());
    quant::encode_row(to, info->cols, row.data(), at(result, "weight", to.code_bytes(info->cols)),
                      at(result, "scales", scale_bytes), at(result, "biases", scale_bytes));
  }
  return result;
}

// Each expert's record: gate, up, down, each with weight, scales, biases.
std::vector<std::string> records(const Source& source, int layer, bool two_bit) {
  const auto experts = source.text().at("num_experts").get<size_t>();
  std::vector<std::string> result(experts);
  for (const char* matrix : {"gate_proj", "up_proj", "down_proj"}) {
    const std::string name =
        fmt::format("language_model.model.layers.{}.mlp.switch_mlp.{}", layer, matrix);
    std::map<std::string, std::string> parts;
    if (two_bit) parts = two_bits(source, name);
    for (const char* part : kParts) {
      const std::string bytes =
          two_bit ? parts.at(part) : source.bytes(*source.checkpoint().find(name + "." + part));
      const size_t size = bytes.size() / experts;
      for (size_t e = 0; e < experts; ++e) result[e] += bytes.substr(e * size, size);
    }
  }
  return result;
}

std::string lz4_block(const std::string& raw) {
  std::string block(static_cast<size_t>(LZ4_compressBound(static_cast<int>(raw.size()))), '\0');
  block.resize(static_cast<size_t>(LZ4_compress_default(
      raw.data(), block.data(), static_cast<int>(raw.size()), static_cast<int>(block.size()))));
  return block;
}

// Blocks of which the later ones refer to the earlier, then one that is stored.
std::string lz4_frame(const std::string& raw) {
  constexpr size_t kBlock = 1000;
  std::string frame;
  std::unique_ptr<LZ4_stream_t, int (*)(LZ4_stream_t*)> stream(LZ4_createStream(), LZ4_freeStream);
  size_t at = 0;
  for (; at + 2 * kBlock < raw.size(); at += kBlock) {
    std::string block(static_cast<size_t>(LZ4_compressBound(kBlock)), '\0');
    block.resize(static_cast<size_t>(LZ4_compress_fast_continue(
        stream.get(), raw.data() + at, block.data(), kBlock, static_cast<int>(block.size()), 1)));
    frame += "bv41" + number(kBlock, 4) + number(block.size(), 4) + block;
  }
  return frame + "bv4-" + number(raw.size() - at, 4) + raw.substr(at) + "bv4$";
}

void write_lz4(const fs::path& path, const std::vector<std::string>& experts, bool frames) {
  std::string index, data;
  for (size_t e = 0; e < experts.size(); ++e) {
    const std::string& raw = experts[e];
    const std::string blob = e % 3 == 2 ? raw : frames ? lz4_frame(raw) : lz4_block(raw);
    index += number(experts.size() * 16 + data.size(), 8) + number(blob.size(), 4) +
             number(raw.size(), 4);
    data += blob;
  }
  write(path, index + data);
}

void copy_others(const std::string& from, const std::string& to) {
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    if (name.find(".safetensors") == std::string::npos) fs::copy(entry.path(), fs::path(to) / name);
  }
}

}  // namespace

void write_flash_moe(const std::string& mlx_folder, const std::string& folder,
                     FlashMoeExperts experts) {
  const Source source(mlx_folder);
  fs::create_directories(folder);
  copy_others(mlx_folder, folder);
  std::string weights;
  json manifest = {{"model", mlx_folder}, {"config", source.text()}};
  for (const TensorInfo& tensor : source.checkpoint().tensors()) {
    if (is_expert(tensor)) continue;
    constexpr std::string_view kDropped = "language_model.";
    const std::string name =
        tensor.name.starts_with(kDropped) ? tensor.name.substr(kDropped.size()) : tensor.name;
    weights.resize((weights.size() + 63) / 64 * 64);
    manifest["tensors"][name] = {{"offset", weights.size()},
                                 {"size", tensor.extent.bytes},
                                 {"shape", tensor.shape},
                                 {"dtype", tensor.dtype_name}};
    weights += source.bytes(tensor);
  }
  manifest["num_tensors"] = manifest["tensors"].size();
  manifest["config"].erase("model_type");
  write(fs::path(folder) / "model_weights.bin", weights);
  write(fs::path(folder) / "model_weights.json", manifest.dump(2));

  for (int layer = 0; layer < source.text().at("num_hidden_layers"); ++layer) {
    const std::string name = fmt::format("layer_{:02}", layer);
    const std::vector<std::string> all = records(source, layer, false);
    const auto write_layer = [&](const char* kind, const std::vector<std::string>& raw) {
      std::string bytes;
      for (const std::string& expert : raw) bytes += expert;
      write(fs::path(folder) / kind / (name + ".bin"), bytes);
    };
    switch (experts) {
      case FlashMoeExperts::kTwoBitsToo:
        write_layer("packed_experts_2bit", records(source, layer, true));
        [[fallthrough]];
      case FlashMoeExperts::kLayers:
        write_layer("packed_experts", all);
        break;
      case FlashMoeExperts::kFiles:
        for (size_t e = 0; e < all.size(); ++e) {
          write(fs::path(folder) / "packed_experts" / name / fmt::format("expert_{:03}.bin", e),
                all[e]);
        }
        break;
      case FlashMoeExperts::kLz4Blocks:
      case FlashMoeExperts::kLz4Frames:
        write_lz4(fs::path(folder) / "packed_experts_lz4" / (name + ".bin"), all,
                  experts == FlashMoeExperts::kLz4Frames);
        break;
    }
  }
}

void write_two_bit_mlx(const std::string& mlx_folder, const std::string& folder) {
  const Source source(mlx_folder);
  fs::create_directories(folder);
  copy_others(mlx_folder, folder);
  std::vector<SafetensorsWriter::Tensor> tensors;
  std::string data;
  for (const TensorInfo& tensor : source.checkpoint().tensors()) {
    SafetensorsWriter::Tensor result = {tensor.name, tensor.dtype, tensor.shape};
    if (is_expert(tensor)) {
      const size_t dot = tensor.name.rfind('.');
      const std::string part = tensor.name.substr(dot + 1);
      data += two_bits(source, tensor.name.substr(0, dot)).at(part);
      if (part == "weight") result.shape.back() /= 2;
    } else {
      data += source.bytes(tensor);
    }
    tensors.push_back(std::move(result));
  }
  SafetensorsWriter writer(folder, std::move(tensors));
  writer.write(std::as_bytes(std::span(data)));
  writer.finish();
}

}  // namespace flashmoe::format

// Matrices of checkpoints: plain ones, and quantised ones against files that mlx wrote.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "format/checkpoint.h"
#include "format/safetensors_writer.h"
#include "tests/base/temp_folder.h"
#include "tests/format/files.h"

namespace flashmoe::format {
namespace {

using quant::DType;
using quant::Encoding;
using Tensor = SafetensorsWriter::Tensor;

const std::string kGolden = std::string(FLASHMOE_SOURCE_DIR) + "/tests/golden/formats/";

// A checkpoint of these tensors, all zeros.
class Written {
 public:
  Written(const std::string& config, std::vector<Tensor> tensors) {
    folder_.write("config.json", config);
    size_t bytes = 0;
    for (const Tensor& tensor : tensors) {
      size_t size = quant::dtype_bytes(tensor.dtype);
      for (int64_t n : tensor.shape) size *= static_cast<size_t>(n);
      bytes += size;
    }
    SafetensorsWriter writer(folder_.path(), std::move(tensors));
    writer.write(std::vector<std::byte>(bytes));
    writer.finish();
    checkpoint_ = Checkpoint::open(folder_.path());
  }

  const Checkpoint* operator->() const { return checkpoint_.get(); }
  std::string file() const { return folder_.file("model.safetensors"); }

 private:
  TempFolder folder_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

std::vector<Tensor> affine(std::vector<int64_t> codes, std::vector<int64_t> scales) {
  return {{"x.weight", DType::kU32, codes},
          {"x.scales", DType::kBf16, scales},
          {"x.biases", DType::kBf16, scales}};
}

std::string quantization(const std::string& body) { return R"({"quantization":{)" + body + "}}"; }

TEST(Matrix, FindsPlainOnes) {
  const auto checkpoint = Checkpoint::open(kGolden + "plain");
  const std::pair<const char*, DType> kinds[] = {
      {"f32", DType::kF32}, {"f16", DType::kF16}, {"bf16", DType::kBf16}};
  for (const auto& [name, dtype] : kinds) {
    const std::optional<MatrixInfo> matrix = checkpoint->find_matrix(name, 5);
    ASSERT_TRUE(matrix) << name;
    EXPECT_EQ(matrix->name, name);
    EXPECT_EQ(matrix->format, (quant::Format{Encoding::kPlain, dtype, 0, 0}));
    EXPECT_EQ(matrix->count, 1);
    EXPECT_EQ(matrix->rows, 3);
    EXPECT_EQ(matrix->cols, 5);
    EXPECT_EQ(matrix->codes.bytes, 3 * matrix->format.row_bytes(5));
    EXPECT_EQ(matrix->scales.bytes, 0u);
  }
  const std::optional<MatrixInfo> experts = checkpoint->find_matrix("experts.gate_up_proj");
  ASSERT_TRUE(experts);
  EXPECT_EQ(experts->count, 2);
  EXPECT_EQ(experts->rows, 3);
  EXPECT_EQ(experts->cols, 4);
  EXPECT_FALSE(checkpoint->find_matrix("absent"));
}

TEST(Matrix, RefusesWhatIsNoMatrix) {
  const auto checkpoint = Checkpoint::open(kGolden + "plain");
  const std::string file = kGolden + "plain/model.safetensors";
  expect_error(ErrorCode::kCorrupt, {file, "tensor norm.weight:", "F32 [3]", "2 dimensions"},
               [&] { checkpoint->find_matrix("norm"); });
  expect_error(ErrorCode::kCorrupt, {file, "tensor empty:", "is empty"},
               [&] { checkpoint->find_matrix("empty"); });
  expect_error(ErrorCode::kCorrupt, {file, "tensor f32.weight:", "5 inputs", "calls for 6"},
               [&] { checkpoint->find_matrix("f32", 6); });
}

TEST(Matrix, RefusesTypesOnlyWhenAsked) {
  const auto checkpoint = Checkpoint::open(kGolden + "plain");
  expect_error(ErrorCode::kUnsupported, {"tensor fp8.weight:", "F8_E4M3", "supported are F32"},
               [&] { checkpoint->find_matrix("fp8"); });
  expect_error(ErrorCode::kUnsupported, {"tensor ids:", "I64"},
               [&] { checkpoint->find_matrix("ids"); });
}

TEST(Matrix, FindsWhatMlxQuantised) {
  const auto checkpoint = Checkpoint::open(kGolden + "mlx");
  const auto expected = nlohmann::json::parse(read_file(kGolden + "mlx.json"));
  for (const auto& [name, e] : expected.at("matrices").items()) {
    const int64_t cols = e.at("cols");
    for (const bool hint : {true, false}) {
      // The shapes of 2 x 96 in 8 bits, group 32, are also those of 2 x 192 in 4 bits, group 64,
      // which is the file's default.
      if (!hint && name == "model.unnamed") continue;
      const auto matrix =
          checkpoint->find_matrix(name, hint ? std::optional<int64_t>(cols) : std::nullopt);
      ASSERT_TRUE(matrix) << name;
      EXPECT_EQ(matrix->format.encoding, Encoding::kAffine);
      EXPECT_EQ(matrix->format.bits, e.at("bits")) << name;
      EXPECT_EQ(matrix->format.group, e.at("group")) << name;
      EXPECT_EQ(matrix->count, e.at("count"));
      EXPECT_EQ(matrix->rows, e.at("rows"));
      EXPECT_EQ(matrix->cols, cols);
      const DType dtype = e.at("dtype") == "float32"   ? DType::kF32
                          : e.at("dtype") == "float16" ? DType::kF16
                                                       : DType::kBf16;
      EXPECT_EQ(matrix->format.dtype, dtype);

      const auto rows = static_cast<uint64_t>(matrix->count * matrix->rows);
      EXPECT_EQ(matrix->codes.bytes, rows * matrix->format.code_bytes(cols));
      EXPECT_EQ(matrix->scales.bytes, rows * matrix->format.scale_bytes(cols));
      EXPECT_EQ(matrix->biases.bytes, matrix->scales.bytes);
      const std::pair<const char*, Extent> parts[] = {
          {".weight", matrix->codes}, {".scales", matrix->scales}, {".biases", matrix->biases}};
      for (const auto& [suffix, extent] : parts) {
        const auto& tensor = expected.at("tensors").at(name + suffix);
        const std::string& path = checkpoint->files().at(static_cast<size_t>(extent.file));
        EXPECT_TRUE(path.ends_with(tensor.at("file").get<std::string>())) << name << suffix;
        EXPECT_EQ(extent.offset, tensor.at("offset")) << name << suffix;
        EXPECT_EQ(extent.bytes * 2, tensor.at("bytes").get<std::string>().size());
      }
    }
  }
}

TEST(Matrix, FindsSmallFloatsOfMlx) {
  const auto checkpoint = Checkpoint::open(kGolden + "mlx");
  const quant::Format formats[] = {{Encoding::kFloats, DType::kF8E8M0, 4, 32},
                                   {Encoding::kFloats, DType::kF8E8M0, 8, 32},
                                   {Encoding::kFloats, DType::kF8E4M3, 4, 16}};
  for (const quant::Format& format : formats) {
    for (const std::optional<int64_t> cols : {std::optional<int64_t>(64), {}}) {
      const auto matrix = checkpoint->find_matrix("model." + format.name(), cols);
      ASSERT_TRUE(matrix);
      EXPECT_EQ(matrix->format, format) << format.name();
      EXPECT_EQ(matrix->rows, 2);
      EXPECT_EQ(matrix->cols, 64);
      EXPECT_TRUE(matrix->storage.in_rows());
      EXPECT_EQ(matrix->codes.bytes, 2 * format.code_bytes(64));
      EXPECT_EQ(matrix->scales.bytes, 2 * format.scale_bytes(64));
    }
  }
}

TEST(Matrix, ModesOfMlxMustFitTheShapes) {
  const auto floats = [](const std::string& body, std::vector<int64_t> codes,
                         std::vector<int64_t> scales) {
    return Written(quantization(body),
                   {{"x.weight", DType::kU32, codes}, {"x.scales", DType::kU8, scales}})
        ->find_matrix("x")
        ->format.name();
  };
  EXPECT_EQ(floats(R"("mode":"mxfp4","bits":4,"group_size":32)", {2, 8}, {2, 2}), "mxfp4");
  EXPECT_EQ(floats(R"("mode":"mxfp4","x":{"mode":"nvfp4"})", {2, 8}, {2, 4}), "nvfp4");
  EXPECT_EQ(floats(R"("bits":4)", {2, 8}, {2, 1}), "mxfp8");  // mode may be missing
  expect_error(ErrorCode::kCorrupt, {"tensor x.weight:", "not what config.json says: mxfp4"}, [&] {
    floats(R"("mode":"mxfp4")", {2, 8}, {2, 4});
  });
  expect_error(ErrorCode::kUnsupported, {"tensor x.weight:", "quantisation mxfp6"}, [&] {
    floats(R"("mode":"mxfp6")", {2, 8}, {2, 2});
  });
  expect_error(ErrorCode::kUnsupported, {"tensor x.global_scale:", "F32 [2]", "1 matrices"}, [&] {
    Written(quantization(R"("mode":"nvfp4")"), {{"x.weight", DType::kU32, {2, 8}},
                                                {"x.scales", DType::kU8, {2, 4}},
                                                {"x.global_scale", DType::kF32, {2}}})
        ->find_matrix("x");
  });
}

TEST(Matrix, ExpectedColumnsDecideBetweenReadings) {
  // 12 words and 3 groups: 8 bits in groups of 32, 4 in 64, 2 in 128.
  const Written checkpoint("{}", affine({2, 24}, {2, 3}));
  expect_error(ErrorCode::kCorrupt, {checkpoint.file(), "tensor x.weight:", "fits several"},
               [&] { checkpoint->find_matrix("x"); });
  const std::pair<int64_t, int> readings[] = {{96, 8}, {192, 4}, {384, 2}};
  for (const auto& [cols, bits] : readings) {
    const auto matrix = checkpoint->find_matrix("x", cols);
    ASSERT_TRUE(matrix);
    EXPECT_EQ(matrix->format.bits, bits);
    EXPECT_EQ(matrix->cols, cols);
  }
  expect_error(ErrorCode::kUnsupported, {"tensor x.weight:", "and 128 inputs"},
               [&] { checkpoint->find_matrix("x", 128); });
}

TEST(Matrix, ConfigDecidesBetweenReadings) {
  const auto bits = [](const std::string& body) {
    return Written(quantization(body), affine({2, 24}, {2, 3}))->find_matrix("x")->format.bits;
  };
  EXPECT_EQ(bits(R"("bits":4,"group_size":64)"), 4);
  EXPECT_EQ(bits(R"("bits":2,"group_size":128)"), 2);
  EXPECT_EQ(bits(R"("bits":4,"group_size":64,"x":{"bits":8,"group_size":32})"), 8);
  EXPECT_EQ(bits(R"("bits":4,"group_size":64,"x":{"group_size":32})"), 8);
  EXPECT_EQ(bits(R"("bits":4,"group_size":64,"x":true)"), 4);
  // Half given is enough when the rest follows; a default that does not fit is no help.
  EXPECT_EQ(bits(R"("bits":8)"), 8);
  expect_error(ErrorCode::kCorrupt, {"fits several"}, [&] { bits(R"("bits":6,"group_size":64)"); });
}

TEST(Matrix, ConfigIsReadWhereverItStands) {
  const std::string entry = R"({"bits":2,"group_size":128})";
  for (const std::string& config :
       {R"({"quantization":)" + entry + "}", R"({"quantization_config":)" + entry + "}",
        R"({"text_config":{"quantization":)" + entry + "}}",
        R"({"quantization":null,"quantization_config":)" + entry + "}"}) {
    EXPECT_EQ(Written(config, affine({2, 24}, {2, 3}))->find_matrix("x")->format.bits, 2) << config;
  }
}

TEST(Matrix, OverrideWithoutModeIsAffine) {
  const Written checkpoint(
      quantization(R"("mode":"mxfp4","bits":4,"group_size":32,"x":{"bits":8,"group_size":64})"),
      affine({2, 16}, {2, 1}));
  EXPECT_EQ(checkpoint->find_matrix("x")->format.bits, 8);
}

TEST(Matrix, RefusesConfigAgainstShapes) {
  const auto find = [](const std::string& body) {
    Written(quantization(body), affine({2, 24}, {2, 3}))->find_matrix("x");
  };
  expect_error(ErrorCode::kCorrupt,
               {"model.safetensors", "tensor x.weight:", "U32 [2, 24]", "BF16 [2, 3]",
                "4 bits in groups of 32"},
               [&] { find(R"("bits":4,"group_size":64,"x":{"bits":4,"group_size":32})"); });
  expect_error(ErrorCode::kUnsupported, {"tensor x.weight:", "7 bits in groups of 64"},
               [&] { find(R"("bits":4,"group_size":64,"x":{"bits":7,"group_size":64})"); });
  expect_error(ErrorCode::kUnsupported, {"tensor x.weight:", "groups of 16"},
               [&] { find(R"("bits":4,"group_size":64,"x":{"bits":4,"group_size":16})"); });
}

TEST(Matrix, RefusesPartsThatDoNotFit) {
  const auto refuse = [](std::vector<Tensor> tensors, ErrorCode code, const std::string& tensor,
                         const std::string& what) {
    const Written checkpoint("{}", std::move(tensors));
    expect_error(code, {checkpoint.file(), "tensor " + tensor + ":", what},
                 [&] { checkpoint->find_matrix("x"); });
  };
  const auto corrupt = ErrorCode::kCorrupt;
  refuse(affine({2, 7}, {2, 1}), ErrorCode::kUnsupported, "x.weight", "is not supported");
  refuse(affine({2, 8}, {3, 1}), corrupt, "x.scales", "does not fit x.weight");
  refuse(affine({2, 8}, {2, 1, 1}), corrupt, "x.scales", "does not fit x.weight");
  refuse(affine({2, 8}, {2, 0}), corrupt, "x.scales", "does not fit x.weight");
  refuse(affine({8}, {1}), corrupt, "x.weight", "2 dimensions");
  refuse(affine({0, 8}, {0, 1}), corrupt, "x.weight", "is empty");

  std::vector<Tensor> tensors = affine({2, 8}, {2, 1});
  tensors[0].dtype = DType::kI32;
  refuse(tensors, corrupt, "x.weight", "should be U32");
  tensors = affine({2, 8}, {2, 1});
  tensors[2].dtype = DType::kF16;
  refuse(tensors, corrupt, "x.biases", "should be as x.scales");
  tensors = affine({2, 8}, {2, 1});
  tensors[2].shape = {1, 2};
  refuse(tensors, corrupt, "x.biases", "should be as x.scales");
  tensors = affine({2, 8}, {2, 1});
  tensors[1].dtype = tensors[2].dtype = DType::kF64;
  refuse(tensors, ErrorCode::kUnsupported, "x.scales", "F64");
  tensors = affine({2, 8}, {2, 1});
  tensors.pop_back();
  refuse(tensors, corrupt, "x.scales", "no x.biases");
}

std::string method(const std::string& name, const std::string& settings = "") {
  return R"({"quantization_config":{"quant_method":")" + name + "\"" +
         (settings.empty() ? "" : "," + settings) + "}}";
}

std::vector<Tensor> fp8(std::vector<int64_t> weight, const char* scales, std::vector<int64_t> of) {
  return {{"x.weight", DType::kF8E4M3, std::move(weight)}, {scales, DType::kBf16, std::move(of)}};
}

TEST(Matrix, FindsFp8) {
  const auto storage = [](std::vector<Tensor> tensors) {
    const auto m = Written(method("fp8"), std::move(tensors))->find_matrix("x");
    EXPECT_EQ(m->format, (quant::Format{Encoding::kFloats, DType::kBf16, 8, 128}));
    EXPECT_EQ(m->storage.kind, quant::Storage::Kind::kScaled);
    return std::pair(m->storage.scale_rows, m->storage.group);
  };
  EXPECT_EQ(storage(fp8({130, 200}, "x.weight_scale_inv", {2, 2})), std::pair(128L, 128L));
  EXPECT_EQ(storage(fp8({3, 5}, "x.weight_scale", {3, 1})), std::pair(1L, 5L));
  EXPECT_EQ(storage(fp8({3, 5}, "x.weight_scale", {1})), std::pair(3L, 5L));
  EXPECT_EQ(storage(fp8({3, 5}, "x.weight_scale", {})), std::pair(3L, 5L));
  EXPECT_EQ(storage(fp8({3, 256}, "x.weight_scale", {3, 2})), std::pair(1L, 128L));
}

TEST(Matrix, RefusesOtherFp8) {
  const auto refuse = [](const std::string& config, std::vector<Tensor> tensors,
                         const std::string& tensor, const std::string& what) {
    const Written checkpoint(config, std::move(tensors));
    expect_error(ErrorCode::kUnsupported, {checkpoint.file(), "tensor " + tensor + ":", what},
                 [&] { checkpoint->find_matrix("x"); });
  };
  refuse(method("fp8"), fp8({130, 200}, "x.weight_scale_inv", {3, 2}), "x.weight_scale_inv",
         "BF16 [3, 2] for weights [130, 200]");
  refuse(method("fp8"), fp8({3, 64}, "x.weight_scale", {3, 2}), "x.weight_scale",
         "a scale for 32 of 64 inputs");
  refuse(method("fp8", R"("weight_block_size":[64,64])"), fp8({3, 5}, "x.weight_scale", {}),
         "x.weight", "weight_block_size [64,64]");
  refuse(method("compressed-tensors", R"("transform_config":{"a":1})"),
         fp8({3, 5}, "x.weight_scale", {}), "x.weight", "transform_config");
  refuse(method("int8"),
         {{"x.weight", DType::kBf16, {2, 2}}, {"x.weight_scale", DType::kBf16, {1, 1}}}, "x.weight",
         "quant_method int8");
}

// Of 64 inputs, 32 outputs and two groups.
std::vector<Tensor> gptq(int bits) {
  return {{"x.qweight", DType::kI32, {2 * bits, 32}},
          {"x.qzeros", DType::kI32, {2, bits}},
          {"x.scales", DType::kF16, {2, 32}},
          {"x.g_idx", DType::kI32, {64}}};
}

TEST(Matrix, FindsGptq) {
  for (int bits : {2, 3, 4, 8}) {
    const Written checkpoint(method("gptq", R"("bits":4,"group_size":32)"), gptq(bits));
    const auto m = checkpoint->find_matrix("x", 64);
    quant::Format format{Encoding::kAffine, DType::kF16, bits, 32};
    format.zero_points = true;
    EXPECT_EQ(m->format, format);
    EXPECT_EQ(m->rows, 32);
    EXPECT_EQ(m->cols, 64);
    EXPECT_EQ(m->storage.kind, quant::Storage::Kind::kGptq);
    EXPECT_EQ(m->storage.group, 32);
    EXPECT_TRUE(m->storage.zeros_less_one);
    EXPECT_EQ(m->group_of_input.bytes, 0u);
    EXPECT_EQ(m->tensors.size(), 4u);
  }
  const auto find = [](const std::string& settings) {
    return *Written(method("gptq", settings), gptq(4))->find_matrix("x", 64);
  };
  EXPECT_FALSE(find(R"("checkpoint_format":"gptq_v2")").storage.zeros_less_one);
  EXPECT_TRUE(find(R"("desc_act":true)").format.permuted);
  EXPECT_EQ(find(R"("desc_act":true)").group_of_input.bytes, 256u);
}

TEST(Matrix, RefusesOtherGptq) {
  const auto refuse = [](const std::string& settings, const std::string& what,
                         ErrorCode code = ErrorCode::kUnsupported) {
    const Written checkpoint(method("gptq", settings), gptq(4));
    expect_error(code, {checkpoint.file(), "tensor x.qweight:", what},
                 [&] { checkpoint->find_matrix("x", 64); });
  };
  refuse(R"("checkpoint_format":"marlin")", "checkpoint_format \"marlin\"");
  refuse(R"("pack_dtype":"int64")", "pack_dtype \"int64\"");
  refuse(R"("dynamic":{"+:x":{"desc_act":true}})", "dynamic");
  refuse(R"("desc_act":"yes")", "desc_act in config.json's quantisation is \"yes\", not true",
         ErrorCode::kCorrupt);
  const Written other(method("gptq"), gptq(4));
  expect_error(ErrorCode::kUnsupported, {"tensor x.qweight:", "I32 [8, 32] with 96 inputs"},
               [&] { other->find_matrix("x", 96); });
  std::vector<Tensor> tensors = gptq(4);
  tensors[1].shape = {3, 4};
  const Written zeros(method("gptq"), tensors);
  expect_error(ErrorCode::kCorrupt, {"tensor x.qzeros:", "I32 [3, 4] should be I32 [2, 4]"},
               [&] { zeros->find_matrix("x", 64); });
  const Written unknown(method("quip"), gptq(4));
  expect_error(ErrorCode::kUnsupported, {"tensor x.qweight:", "quant_method quip"},
               [&] { unknown->find_matrix("x", 64); });
}

TEST(Matrix, FindsAwq) {
  const std::vector<Tensor> tensors = {{"x.qweight", DType::kI32, {64, 4}},
                                       {"x.qzeros", DType::kI32, {2, 4}},
                                       {"x.scales", DType::kF16, {2, 32}}};
  const auto m = Written(method("awq", R"("version":"GEMM")"), tensors)->find_matrix("x", 64);
  EXPECT_EQ(m->storage.kind, quant::Storage::Kind::kAwq);
  EXPECT_EQ(m->format.bits, 4);
  EXPECT_EQ(m->rows, 32);
  EXPECT_EQ(m->cols, 64);
  for (const char* settings : {R"("version":"gemv")", R"("bits":8)", R"("zero_point":false)"}) {
    const Written checkpoint(method("awq", settings), tensors);
    expect_error(ErrorCode::kUnsupported, {"tensor x.qweight:", "config.json"},
                 [&] { checkpoint->find_matrix("x", 64); });
  }
}

TEST(Matrix, FindsPacked) {
  const std::vector<Tensor> tensors = {{"x.weight_packed", DType::kI32, {32, 8}},
                                       {"x.weight_scale", DType::kBf16, {32, 2}},
                                       {"x.weight_zero_point", DType::kI32, {4, 2}},
                                       {"x.weight_shape", DType::kI64, {2}}};
  const auto m = Written(method("compressed-tensors"), tensors)->find_matrix("x", 64);
  EXPECT_EQ(m->storage.kind, quant::Storage::Kind::kPacked);
  EXPECT_EQ(m->format.bits, 4);
  EXPECT_EQ(m->rows, 32);
  EXPECT_EQ(m->tensors.size(), 4u);
  const auto bits = Written(method("compressed-tensors", R"("config_groups":{"g":{"weights":{
      "num_bits":8}}})"),
                            {{"x.weight_packed", DType::kI32, {32, 8}},
                             {"x.weight_scale", DType::kBf16, {32, 1}}})
                        ->find_matrix("x")
                        ->format.bits;
  EXPECT_EQ(bits, 8);
  std::vector<Tensor> bytes = tensors;
  bytes[0].dtype = DType::kU8;
  const Written nvfp4(method("compressed-tensors"), bytes);
  expect_error(ErrorCode::kUnsupported, {"tensor x.weight_packed:", "U8 of packed codes"},
               [&] { nvfp4->find_matrix("x", 64); });
}

TEST(Matrix, TakesWhatOtherToolsLeftAsItWas) {
  const Written plain(method("fp8"), {{"x.weight", DType::kBf16, {2, 2}}});
  EXPECT_TRUE(plain->find_matrix("x"));
}

TEST(Matrix, RefusesBrokenQuantizationSections) {
  const auto refuse = [](const std::string& config, const std::string& what) {
    expect_error(ErrorCode::kCorrupt, {"config.json", what}, [&] { Written(config, {}); });
  };
  refuse(R"({"quantization":7})", "quantization is 7");
  refuse(quantization(R"("bits":"4")"), "quantization.bits is \"4\"");
  refuse(quantization(R"("bits":-4)"), "quantization.bits is -4");
  refuse(quantization(R"("bits":18446744073709551615)"),
         "quantization.bits is 18446744073709551615");
  refuse(quantization(R"("x":{"group_size":0})"), "quantization.x.group_size is 0");
  refuse(quantization(R"("mode":4)"), "quantization.mode is 4");
  refuse(R"({"quantization_config":{"quant_method":4}})", "quant_method is 4");
}

}  // namespace
}  // namespace flashmoe::format

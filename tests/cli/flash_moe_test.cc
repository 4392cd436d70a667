// Models as flash-moe keeps them: the logits of the MLX checkpoint that they were made from, to the
// bit.
#include <filesystem>

#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"
#include "tests/format/flash_moe_files.h"

namespace flashmoe::cli {
namespace {

namespace fs = std::filesystem;
using format::FlashMoeExperts;

class FlashMoeTest : public testing::Test {
 protected:
  std::string logits(const std::string& model, std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), {"logits", model, "--ids", source_ + "/ids.txt", "--out",
                                         temp_.file("out.npy"), "--threads", "2"});
    const Outcome outcome = flashmoe(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome;
    said_ = outcome.err;
    return temp_.read("out.npy");
  }

  const std::string source_ = golden_models() / "mlx_qwen3_5_moe_4bit_bf16";
  const TempFolder temp_;
  const std::string model_ = temp_.file("model");
  std::string said_;
};

TEST_F(FlashMoeTest, RunsInPlace) {
  const std::string expected = logits(source_);
  for (const FlashMoeExperts experts :
       {FlashMoeExperts::kLayers, FlashMoeExperts::kFiles, FlashMoeExperts::kLz4Blocks,
        FlashMoeExperts::kLz4Frames, FlashMoeExperts::kTwoBitsToo}) {
    SCOPED_TRACE(static_cast<int>(experts));
    fs::remove_all(model_);
    format::write_flash_moe(source_, model_, experts);
    for (const char* io : {"buffered", "pread"}) {
      EXPECT_EQ(logits(model_, {"--io", io}), expected) << io;
      EXPECT_NE(said_.find("experts of 4 bits"), std::string::npos) << said_;
    }
    fs::remove_all(temp_.file("store"));
    ASSERT_EQ(flashmoe({"pack", model_, temp_.file("store")}).exit_code, 0);
    EXPECT_EQ(logits(temp_.file("store"), {"--checksums"}), expected);
  }
}

TEST_F(FlashMoeTest, TheFolderOfExpertsChooses) {
  format::write_flash_moe(source_, model_, FlashMoeExperts::kTwoBitsToo);
  format::write_two_bit_mlx(source_, temp_.file("mlx"));
  const std::string expected = logits(temp_.file("mlx"));
  EXPECT_NE(expected, logits(source_));
  EXPECT_EQ(logits(model_ + "/packed_experts_2bit"), expected);
  EXPECT_NE(said_.find("experts of 2 bits"), std::string::npos) << said_;
  fs::remove_all(model_ + "/packed_experts");
  EXPECT_EQ(logits(model_), expected);
}

TEST_F(FlashMoeTest, RunsWithoutConfiguration) {
  format::write_flash_moe(source_, model_, FlashMoeExperts::kLayers);
  fs::remove(model_ + "/config.json");
  EXPECT_EQ(logits(model_), logits(source_));
}

TEST_F(FlashMoeTest, DamageIsNamed) {
  format::write_flash_moe(source_, model_, FlashMoeExperts::kLz4Blocks);
  const auto refused = [&](std::vector<std::string> parts) {
    expect_failure(flashmoe({"-q", "logits", model_, "--ids", source_ + "/ids.txt", "--out",
                             temp_.file("out.npy")}),
                   parts);
  };
  const std::string layer = model_ + "/packed_experts_lz4/layer_01.bin";
  const std::string bytes = temp_.read("model/packed_experts_lz4/layer_01.bin");
  std::string damaged = bytes;
  for (size_t i = 8 * 16; i < damaged.size(); ++i) damaged[i] = '\xff';
  temp_.write("model/packed_experts_lz4/layer_01.bin", damaged);
  refused({"layer_01.bin", "record", "LZ4"});
  fs::resize_file(layer, bytes.size() - 1);
  refused({"layer_01.bin", "expert 7"});
  fs::remove(layer);
  refused({"layer_01.bin"});
  fs::remove_all(model_ + "/packed_experts_lz4");
  refused({"has no experts"});
}

}  // namespace
}  // namespace flashmoe::cli

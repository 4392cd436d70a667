// What is wrong with a model or the machine: exit code 1 and one sentence with the file and what
// to do.
#include <filesystem>
#include <fstream>

#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

namespace fs = std::filesystem;

TEST(MissingModelTest, NamesTheCommandThatFetchesIt) {
  expect_failure(flashmoe({"run", "Qwen/Qwen3-30B-A3B", "hi"}),
                 {"Qwen/Qwen3-30B-A3B", "/nonexistent/hub", "hf download Qwen/Qwen3-30B-A3B"});
  // Alone it may be meant as a prompt; piped text does not change that.
  for (const char* input : {"", "hi"}) {
    expect_failure(flashmoe({"run", "yes/no"}, input),
                   {"yes/no: is no folder", "/nonexistent/hub", "hf download yes/no",
                    "flashmoe run -p 'yes/no'"});
  }
  const TempFolder cache;
  fs::create_directories(cache.file("hub/models--Qwen--Qwen3-30B-A3B/snapshots"));
  expect_failure(flashmoe({"inspect", "Qwen/Qwen3-30B-A3B"}, "",
                          {{"HF_HUB_CACHE", ""}, {"HF_HOME", cache.path()}}),
                 {"did not finish", "hf download Qwen/Qwen3-30B-A3B"});
  expect_failure(flashmoe({"run", "/no/such/folder", "hi"}), {"/no/such/folder", "no such folder"});
}

TEST(CachedModelTest, IsFoundByItsName) {
  const TempFolder cache;
  fs::create_directories(cache.file("hub/models--some--model/snapshots"));
  fs::create_directory_symlink(golden_models() / "qwen3_moe_split_bf16",
                               cache.file("hub/models--some--model/snapshots/0123abcd"));
  cache.write("hub/models--some--model/refs/main", "0123abcd");
  const Outcome outcome =
      flashmoe({"inspect", "some/model"}, "", {{"HF_HUB_CACHE", ""}, {"HF_HOME", cache.path()}});
  EXPECT_EQ(outcome.exit_code, 0) << outcome;
}

// A copy of a golden model of two files, to be damaged.
class DamagedModelTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::copy(golden_models() / "qwen3_moe_split_bf16", folder_);
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
      fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
    }
    ASSERT_TRUE(fs::exists(shard_));
  }
  void expect_refused(const std::vector<std::string>& parts) {
    expect_failure(flashmoe({"inspect", folder_}), parts);
    expect_failure(flashmoe({"logits", folder_, "--ids", folder_ + "/ids.txt", "--out",
                             temp_.file("out.npy")}),
                   parts);
    EXPECT_FALSE(fs::exists(temp_.file("out.npy")));
  }

  const TempFolder temp_;
  const std::string folder_ = temp_.file("model");
  const std::string shard_ = folder_ + "/model-00002-of-00002.safetensors";
};

TEST_F(DamagedModelTest, MissingShard) {
  fs::remove(shard_);
  expect_refused({"1 of the model's 2 weight files is missing", "model-00002-of-00002.safetensors",
                  "download"});
}

TEST_F(DamagedModelTest, GitLfsPointer) {
  std::ofstream(shard_)
      << "version https://git-lfs.github.com/spec/v1\n"
         "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e\n"
         "size 12345\n";
  expect_refused({shard_, "Git LFS pointer", "lfs pull"});
}

TEST_F(DamagedModelTest, TruncatedShard) {
  fs::resize_file(shard_, fs::file_size(shard_) / 2);
  expect_refused({shard_, "tensor model.layers.", "did not finish or it is damaged"});
}

TEST_F(DamagedModelTest, EmptyShard) {
  fs::resize_file(shard_, 0);
  expect_refused({shard_});
}

TEST_F(DamagedModelTest, HostileHeaderLength) {
  std::fstream(shard_, std::ios::binary | std::ios::in | std::ios::out)
      .write("\xff\xff\xff\xff\xff\xff\xff\x7f", 8);
  expect_refused({shard_, "header"});
}

TEST_F(DamagedModelTest, HeaderThatIsNoJson) {
  std::fstream file(shard_, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(8);
  file.write("[[[[", 4);
  file.close();
  expect_refused({shard_, "header"});
}

TEST_F(DamagedModelTest, Config) {
  std::ofstream(folder_ + "/config.json") << R"({"model_type": "llama4"})";
  expect_refused({"config.json", "\"llama4\"", "not supported", "qwen3_moe"});
  std::ofstream(folder_ + "/config.json") << "{";
  expect_refused({"config.json", "JSON"});
  fs::remove(folder_ + "/config.json");
  expect_refused({folder_, "no config.json"});
}

TEST_F(DamagedModelTest, NoTokenizer) {
  expect_failure(flashmoe({"run", folder_, "hi"}), {"tokenizer.json"});
}

class SmallBudgetTest : public TinyModelTest {};

TEST_F(SmallBudgetTest, NamesTheMinimum) {
  expect_failure(flashmoe({"run", tiny_, "hi", "--memory", "1M"}),
                 {"1 MiB is too small", "at least", "dense", "8192 tokens of context", "--memory"});
}

TEST_F(SmallBudgetTest, TheNamedMinimumIsEnough) {
  for (const std::string context : {"300", "600", "1000", "1500", "2000", "3000", "5000", "8000"}) {
    const auto run = [&](const std::string& memory) {
      return flashmoe({"run", tiny_, "hi", "-n", "1", "--context", context, "--memory", memory});
    };
    const std::string minimum = named_minimum(run("1M"));
    const Outcome outcome = run(minimum);
    EXPECT_EQ(outcome.exit_code, 0) << minimum << ", context " << context << ": " << outcome;
  }
}

using FullDiskTest = TinyModelTest;

TEST_F(FullDiskTest, LosesNoTextInSilence) {
  const std::string text = "word " + std::string(1 << 17, 'x');  // more than a buffer
  for (Command full : {command({"run", tiny_, "hi", "-n", "4"}), command({"inspect", tiny_}),
                       command({"tokenize", tiny_}, "hi"), command({"tokenize", tiny_}, text)}) {
    full.output_path = "/dev/full";
    const Outcome outcome = run_command(full);
    EXPECT_EQ(outcome.exit_code, 1) << outcome;
    EXPECT_NE(outcome.err.find("No space left"), std::string::npos) << outcome;
  }
}

}  // namespace
}  // namespace flashmoe::cli

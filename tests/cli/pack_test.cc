// flashmoe pack, and what --checksums finds.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"
#include "tests/convert/model_folder.h"

namespace flashmoe::cli {
namespace {

namespace fs = std::filesystem;

std::map<std::string, std::string> folder_bytes(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    files[entry.path().filename().string()] = {std::istreambuf_iterator<char>(in), {}};
  }
  return files;
}

void flip(const std::string& path, uint64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const char value = static_cast<char>(file.get() ^ 1);
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(value);
}

class PackGoldenTest : public testing::TestWithParam<std::string> {
 protected:
  std::string logits(const std::string& model, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"logits", model, "--ids", golden_models() / GetParam() / "ids.txt", "--out",
                      temp_.file("out.npy"), "--threads", "2"});
    const Outcome outcome = flashmoe(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome;
    return temp_.read("out.npy");
  }
  const TempFolder temp_;
};

TEST_P(PackGoldenTest, GivesTheSourcesLogitsToTheBit) {
  const std::string source = golden_models() / GetParam();
  const Outcome outcome = flashmoe({"pack", source, temp_.file("store"), "--json", "--verify"});
  const nlohmann::json json = json_output(outcome);
  EXPECT_GT(json["bytes"], 0);
  EXPECT_TRUE(json["verified"]["damaged"].empty());
  for (const char* io : {"pread", "buffered"}) {
    const std::string expected = logits(source, {"--io", io});
    ASSERT_FALSE(expected.empty());
    EXPECT_EQ(logits(temp_.file("store"), {"--io", io}), expected);
    EXPECT_EQ(logits(temp_.file("store"), {"--io", io, "--checksums"}), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, PackGoldenTest, testing::ValuesIn(golden_model_names()),
                         [](const auto& info) { return info.param; });

class PackRunTest : public TinyModelTest {
 protected:
  void SetUp() override {
    TinyModelTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(flashmoe({"pack", tiny_, store_}).exit_code, 0);
  }
  const TempFolder temp_;
  const std::string store_ = temp_.file("store");
};

TEST_F(PackRunTest, AStoreIsAModelToEveryCommand) {
  const std::vector<std::string> rest = {"What is 2 plus 3?", "--temp", "0", "--json"};
  const auto answer = [&](std::vector<std::string> words) {
    words.insert(words.end(), rest.begin(), rest.end());
    return json_output(flashmoe(words))["tokens"];
  };
  EXPECT_EQ(answer({"run", store_, "--checksums"}), answer({"run", tiny_}));
  const nlohmann::json described = json_output(flashmoe({"inspect", store_, "--json"}));
  EXPECT_EQ(described["routed_bytes"],
            json_output(flashmoe({"inspect", tiny_, "--json"}))["routed_bytes"]);
  EXPECT_EQ(flashmoe({"tokenize", store_}, "hello").out,
            flashmoe({"tokenize", tiny_}, "hello").out);
}

TEST_F(PackRunTest, ChecksumsFindAFlippedBitBeforeItChangesAToken) {
  for (const auto& [name, content] : folder_bytes(store_)) {
    const std::string path = store_ + "/" + name;
    flip(path, content.size() / 2);
    expect_failure(flashmoe({"-q", "pack", "--verify", store_}), {name});
    const Outcome outcome = flashmoe({"run", store_, "hi", "-n", "64", "--checksums"});
    // The damaged expert need not be one that is asked for; the next test damages all of a layer.
    if (!name.starts_with("experts-")) expect_failure(outcome, {name});
    flip(path, content.size() / 2);
  }
}

TEST_F(PackRunTest, ADamagedExpertIsNamed) {
  const std::string path = store_ + "/experts-000.bin";
  // Something in every expert of the first layer.
  const nlohmann::json manifest =
      nlohmann::json::parse(std::ifstream(store_ + "/store.json"))["weights"];
  for (const auto& file : manifest) {
    if (file["file"] != "experts-000.bin") continue;
    for (uint64_t e = 0; e < file["experts"]; ++e) {
      flip(path, e * file["record_bytes"].get<uint64_t>() + 1000);
    }
  }
  for (const char* io : {"pread", "buffered"}) {
    expect_failure(flashmoe({"run", store_, "hi", "-n", "8", "--checksums", "--io", io}),
                   {"experts-000.bin", "record", "offset"});
  }
  const Outcome outcome = flashmoe({"pack", store_, "--verify", "--json"});
  EXPECT_EQ(outcome.exit_code, 1);
  const nlohmann::json json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << outcome;
  EXPECT_EQ(json["damaged"][1]["file"], "experts-000.bin");
  EXPECT_EQ(json["damaged"][1]["record"], 1);
}

TEST_F(PackRunTest, ModelsWithoutChecksumsAreRefused) {
  expect_usage_error(flashmoe({"run", tiny_, "hi", "--checksums"}), {tiny_, "flashmoe pack"});
  expect_usage_error(flashmoe({"pack", "--verify", tiny_}), {tiny_, "no packed store"});
  expect_usage_error(flashmoe({"pack", tiny_}), {"OUT"});
  expect_usage_error(flashmoe({"pack", tiny_, store_}), {"not empty"});
}

// Killed when each of these files has appeared, and taken up.
TEST(PackKillTest, GoesOnWhereItWasKilled) {
  const TempFolder temp;
  convert::ModelSizes sizes;
  sizes.hidden = 512;
  sizes.experts = 16;
  sizes.intermediate = 512;
  convert::ModelFolder(model::Family::kQwen3Moe, convert::Layout::kSplit, quant::DType::kBf16,
                       sizes)
      .write(temp.file("source"));
  ASSERT_EQ(flashmoe({"pack", temp.file("source"), temp.file("whole")}).exit_code, 0);
  const auto expected = folder_bytes(temp.file("whole"));
  for (const char* name : {"journal", "store/dense.bin", "store/experts-000.bin",
                           "store/experts-001.bin", "store/config.json", "store/store.json"}) {
    const fs::path watched = fs::path(temp.file(".out.unfinished")) / name;
    {
      ChildProcess child(
          command({"pack", temp.file("source"), temp.file("out"), "--threads", "1"}));
      // Gone again when the store has its name.
      while (!fs::exists(watched) && !fs::exists(temp.file("out"))) std::this_thread::yield();
      child.send(SIGKILL);
      child.wait();
    }
    const Outcome outcome = flashmoe({"pack", temp.file("source"), temp.file("out")});
    if (outcome.exit_code != 0) {  // it was complete, and nothing is left to take up
      expect_usage_error(outcome, {"not empty"});
    }
    EXPECT_EQ(folder_bytes(temp.file("out")), expected) << name;
    EXPECT_FALSE(fs::exists(temp.file(".out.unfinished")));
    fs::remove_all(temp.file("out"));
  }
}

}  // namespace
}  // namespace flashmoe::cli

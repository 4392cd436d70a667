// flashmoe logits: the way in for anybody's oracle.
#include <filesystem>
#include <fstream>
#include <span>

#include "base/npy.h"
#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

namespace fs = std::filesystem;

struct Rows {
  std::vector<int64_t> shape;
  std::vector<float> values;
  std::span<const float> row(size_t i) const {
    return std::span(values).subspan(i * static_cast<size_t>(shape[1]),
                                     static_cast<size_t>(shape[1]));
  }
};

Rows read_rows(const fs::path& path) {
  NpyArray array = read_npy(path);
  return {array.shape, std::get<std::vector<float>>(std::move(array.values))};
}

class LogitsGoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(LogitsGoldenTest, AgreeWithTransformers) {
  const fs::path folder = golden_models() / GetParam();
  const TempFolder temp;
  const Outcome outcome =
      flashmoe({"logits", folder, "--ids", folder / "ids.txt", "--out", temp.file("out.npy"),
                "--backend", "ref", "--kv", "f32", "--chunk", "16"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome;
  EXPECT_EQ(outcome.out, "");
  const Rows expected = read_rows(folder / "logits.npy");
  const Rows actual = read_rows(temp.file("out.npy"));
  ASSERT_EQ(actual.shape, expected.shape);
  for (size_t i = 0; i < static_cast<size_t>(expected.shape[0]); ++i) {
    EXPECT_LE(relative_error(actual.row(i), expected.row(i)), 1e-4) << "token " << i;
  }
  EXPECT_EQ(entries(temp.path()), 1u);
}

INSTANTIATE_TEST_SUITE_P(Models, LogitsGoldenTest, testing::ValuesIn(golden_model_names()),
                         [](const auto& info) { return info.param; });

class LogitsTest : public testing::Test {
 protected:
  Outcome logits(const std::string& ids, std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(),
                     {"logits", model_, "--ids", ids, "--out", temp_.file("out.npy")});
    return flashmoe(arguments);
  }
  // A refusal that leaves nothing but the ids.
  void expect_refused(const std::string& text, const std::vector<std::string>& parts) {
    const Outcome outcome = logits(temp_.write("ids.txt", text));
    expect_failure(outcome, parts);
    EXPECT_EQ(entries(temp_.path()), 1u);
  }

  const std::string model_ = golden_models() / "qwen3_moe_split_bf16";
  const TempFolder temp_;
};

TEST_F(LogitsTest, BlankLinesAndCarriageReturnsAreNoIds) {
  ASSERT_EQ(logits(temp_.write("a.txt", "1\n2\n3")).exit_code, 0);
  const std::string expected = temp_.read("out.npy");
  ASSERT_EQ(logits(temp_.write("b.txt", "1\r\n\r\n2\n\n3\n\n")).exit_code, 0);
  EXPECT_EQ(temp_.read("out.npy"), expected);
  EXPECT_EQ(read_rows(temp_.file("out.npy")).shape[0], 3);
}

TEST_F(LogitsTest, HowItIsComputedDoesNotShow) {
  std::string ids;
  for (int i = 0; i < 40; ++i) ids += std::to_string(i * 7 % 90) + "\n";
  const std::string file = temp_.write("ids.txt", ids);
  for (const std::string backend : {"ref", "cpu"}) {
    ASSERT_EQ(logits(file, {"--backend", backend}).exit_code, 0);
    const std::string expected = temp_.read("out.npy");
    for (const std::vector<std::string>& change : std::vector<std::vector<std::string>>{
             {"--chunk", "1"}, {"--threads", "3"}, {"--io", "uring"}, {"--io", "pread"}}) {
      std::vector<std::string> arguments = {"--backend", backend};
      arguments.insert(arguments.end(), change.begin(), change.end());
      ASSERT_EQ(logits(file, arguments).exit_code, 0);
      EXPECT_EQ(temp_.read("out.npy"), expected) << backend << " " << change[0] << change[1];
    }
  }
}

TEST_F(LogitsTest, RefusesBadIds) {
  expect_refused("1\ntwo\n3\n", {"ids.txt:2", "'two' is no token id"});
  expect_refused("1\n-2\n", {"ids.txt:2", "'-2' is no token id"});
  expect_refused("1 2 3\n", {"ids.txt:1", "'1 2 3' is no token id"});
  expect_refused("99999999999\n", {"ids.txt:1", "is no token id"});
  expect_refused("", {"ids.txt", "no token ids"});
  // The one beyond the last; before anything is loaded, so even a budget that is too small is not
  // noticed.
  const std::string ids = temp_.write("ids.txt", "0\n\n128\n");
  expect_failure(logits(ids, {"--memory", "1K"}), {"ids.txt:3", "'128'", "0 to 127"});
  expect_refused("1\n100000\n", {"ids.txt:2", "'100000'", "0 to ", "vocabulary"});
}

TEST_F(LogitsTest, RefusesFilesThatCannotBe) {
  expect_failure(logits(temp_.file("absent.txt")), {"absent.txt", "No such file"});
  expect_failure(logits(temp_.path()), {temp_.path(), "directory"});
  const std::string ids = temp_.write("ids.txt", "1\n");
  expect_failure(flashmoe({"logits", model_, "--ids", ids, "--out", temp_.file("no/out.npy")}),
                 {"no/out.npy", "No such file"});
}

}  // namespace
}  // namespace flashmoe::cli

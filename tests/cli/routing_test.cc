// flashmoe run --record-routing and --experts-report, and flashmoe bench cache.
#include <filesystem>

#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

class RoutingTest : public TinyModelTest {
 protected:
  nlohmann::json bench(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"bench", "cache"});
    arguments.push_back("--json");
    return json_output(flashmoe(arguments));
  }
  const TempFolder temp_;
  const std::string trace_ = temp_.file("trace");
};

TEST_F(RoutingTest, RecordsARunThatCacheBenchReplays) {
  const nlohmann::json plain = greedy_run({"What is the capital of France?"});
  const nlohmann::json run =
      greedy_run({"What is the capital of France?", "--record-routing", trace_});
  EXPECT_EQ(run["text"], plain["text"]);
  const nlohmann::json cache = bench({"--routing", "trace:" + trace_, "--cache", "25%,100%"});
  // The last token's experts are not needed: it is not run.
  const int64_t rows = run["prompt_tokens"].get<int64_t>() + run["generated_tokens"].get<int64_t>();
  EXPECT_NEAR(cache["setting"]["tokens"].get<double>(), static_cast<double>(rows), 1);
  EXPECT_GT(cache["routing"]["recall"]["layer_ahead"], 0.5);
  ASSERT_EQ(cache["caches"].size(), 2u);
  EXPECT_EQ(bench({"--routing", "trace", trace_, "--cache", "25%,100%"})["caches"],
            cache["caches"]);
  for (const char* policy : {"lru", "lfu", "ours", "belady"}) {
    const nlohmann::json& all = cache["caches"][1][policy];
    EXPECT_EQ(all["cold"]["eviction_misses"], 0) << policy;
    EXPECT_EQ(all["warm"]["eviction_misses"], 0) << policy;
    EXPECT_LE(cache["caches"][0][policy]["warm"]["hit_rate"],
              cache["caches"][0]["belady"]["warm"]["hit_rate"]);
  }
  const nlohmann::json& ours = cache["caches"][1]["ours"];
  EXPECT_EQ(ours["cold"]["visits"].get<int64_t>() + ours["warm"]["visits"].get<int64_t>(),
            run["expert_hits"].get<int64_t>() + run["expert_misses"].get<int64_t>());
  EXPECT_EQ(
      ours["cold"]["first_misses"].get<int64_t>() + ours["warm"]["first_misses"].get<int64_t>(),
      run["expert_misses"]);
}

TEST_F(RoutingTest, ReportsOnARunsExperts) {
  const nlohmann::json run = greedy_run({"Tell me a story.", "--experts-report"});
  const nlohmann::json& report = run["experts"];
  EXPECT_EQ(report["experts"], 256);
  EXPECT_EQ(report["layers"].size(), 8u);
  EXPECT_LE(report["experts_used"], 256);
  EXPECT_EQ(report["first_misses"].get<int64_t>() + report["eviction_misses"].get<int64_t>(),
            run["expert_misses"]);
  int64_t used = 0;
  for (const nlohmann::json& layer : report["layers"]) used += layer["experts_used"].get<int64_t>();
  EXPECT_EQ(report["experts_used"], used);
  ASSERT_EQ(report["coverage"].size(), 3u);
  EXPECT_LT(report["coverage"][0]["experts"], report["coverage"][1]["experts"]);
  EXPECT_GT(report["coverage"][0]["bytes"], 0);
  int64_t picks = 0;
  for (const nlohmann::json& n : report["reuse"]) picks += n.get<int64_t>();
  EXPECT_EQ(report["picks"], picks);

  const Outcome text =
      flashmoe({"run", tiny_, "Tell me a story.", "--temp", "0", "--experts-report"});
  EXPECT_EQ(text.out, run["text"].get<std::string>() + "\n");
  for (const char* part : {"experts used", "cache misses", "80 % of picks", "picked again",
                           "foretold", "layer ahead", "last token"}) {
    EXPECT_NE(text.err.find(part), std::string::npos) << part << " in " << text;
  }
}

TEST_F(RoutingTest, RefusesWhatIsNoTraceOrDoesNotFit) {
  temp_.write("junk", "fmroutes and then junk, at some length");
  expect_failure(flashmoe({"bench", "cache", "--routing", "trace:" + temp_.file("junk")}),
                 {"junk", "version"});
  expect_failure(flashmoe({"bench", "cache", "--routing", "trace:" + temp_.file("none")}),
                 {"none", "cannot be opened"});
  greedy_run({"Hi", "-n", "2", "--record-routing", trace_});
  expect_usage_error(
      flashmoe({"bench", "cache", "qwen3.5-35b-a3b", "--routing", "trace:" + trace_}),
      {"8 layers of 32 experts", "40 of 256"});
  expect_usage_error(
      flashmoe({"bench", "cache", "--routing", "trace:" + trace_, "--cache", "1MiB"}),
      {"1MiB", "share"});
  expect_failure(
      flashmoe({"run", tiny_, "Hi", "-n", "2", "--record-routing", temp_.file("no/such/folder")}),
      {"no/such/folder"});
}

TEST(CacheBenchTest, KnowsPublishedShapesWithoutTheirWeights) {
  const auto bench = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"bench", "cache", "qwen3-next-80b-a3b", "--json",
                                         "--tokens", "60", "--cache", "10%,4GiB"});
    return json_output(flashmoe(arguments));
  };
  const nlohmann::json synthetic = bench({"--routing", "synthetic"});
  EXPECT_EQ(synthetic["setting"]["layers"], 48);
  EXPECT_EQ(synthetic["setting"]["experts"], 512);
  EXPECT_EQ(synthetic["setting"]["experts_per_token"], 10);
  EXPECT_EQ(synthetic["caches"][0]["slots"], 2458);
  // 4 bits, and a scale and a bias for each 64 of 3 x 2048 x 512 weights: 1.6875 MiB.
  EXPECT_EQ(synthetic["caches"][1]["slots"], 2427);
  EXPECT_NEAR(synthetic["routing"]["recall"]["1_tokens_before"], 0.33, 0.04);
  EXPECT_EQ(synthetic["caches"], bench({"--routing", "synthetic"})["caches"]);
  EXPECT_NE(synthetic["caches"], bench({"--routing", "synthetic", "--seed", "2"})["caches"]);
  EXPECT_NEAR(bench({"--routing", "uniform"})["routing"]["recall"]["1_tokens_before"], 10.0 / 512,
              0.005);
}

TEST(CacheBenchTest, ExplainsAWrongCommandLine) {
  const auto bench = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"bench", "cache", "qwen3.5-35b-a3b"});
    return flashmoe(arguments);
  };
  expect_usage_error(bench({"--routing", "often"}), {"often", "synthetic", "trace:FILE"});
  for (const char* size : {"0%", "101%", "x%", "%", "-1%"}) {
    expect_usage_error(bench({"--routing", "synthetic", "--cache", size}), {size});
  }
  expect_usage_error(bench({"--routing", "synthetic", "--cache", "many"}), {"many"});
}

}  // namespace
}  // namespace flashmoe::cli

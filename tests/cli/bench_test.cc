// flashmoe bench and plan: that their figures are there and agree with each other. How fast it is
// does not matter here.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

void expect_positive(const nlohmann::json& json, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    ASSERT_TRUE(json[key].is_number()) << key << " in " << json;
    EXPECT_GT(json[key].get<double>(), 0) << key;
    EXPECT_TRUE(std::isfinite(json[key].get<double>())) << key;
  }
}

void expect_share(const nlohmann::json& value) {
  ASSERT_TRUE(value.is_number()) << value;
  EXPECT_GE(value, 0);
  EXPECT_LE(value, 1);
}

class BenchTest : public TinyModelTest {
 protected:
  nlohmann::json bench(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "bench");
    arguments.insert(arguments.end(), {"--json", "--repeat", "1"});
    return json_output(flashmoe(arguments));
  }
};

TEST_F(BenchTest, DecodeHasItsKeys) {
  const nlohmann::json json =
      bench({"decode", tiny_, "--tokens", "3", "--context", "5", "--threads", "1"});
  expect_positive(json, {"tok_s", "bytes_per_token", "limit_tok_s", "fraction", "peak_rss_bytes",
                         "predicted_tok_s", "state_bytes_per_token"});
  EXPECT_GE(json["disk_bytes_per_token"], 0);
  expect_share(json["hit_rate"]);
  expect_share(json["predicted_hit_rate"]);
  expect_share(json["cold"]["hit_rate"]);
  EXPECT_EQ(json["hit_rate"], 1);  // all experts fit
  EXPECT_LT(json["cold"]["hit_rate"], 1);
  EXPECT_EQ(json["setting"]["threads"], 1);
  EXPECT_EQ(json["setting"]["routing"], "model");
  EXPECT_NEAR(json["fraction"].get<double>(),
              json["tok_s"].get<double>() / json["limit_tok_s"].get<double>(), 1e-9);
  const nlohmann::json inspect = json_output(flashmoe({"inspect", tiny_, "--json"}));
  EXPECT_EQ(json["bytes_per_token"].get<double>(), inspect["token_dense_bytes"].get<double>() +
                                                       inspect["token_expert_bytes"].get<double>());
}

TEST_F(BenchTest, LongContextsNeedNoPrompt) {
  const nlohmann::json json = bench({"decode", tiny_, "--tokens", "2", "--context", "1500"});
  EXPECT_EQ(json["context"], 1500 + 2 + 1);  // after warming up, in the middle of the tokens
  EXPECT_GT(json["tok_s"], 0);
  const nlohmann::json prompt = bench({"prefill", tiny_, "--tokens", "2", "--context", "1500"});
  EXPECT_EQ(prompt["steps"], 1);
}

TEST_F(BenchTest, RoutingsAreRepeatable) {
  for (const char* routing : {"uniform", "synthetic"}) {
    const std::vector<std::string> arguments = {"decode",    tiny_, "--tokens",  "2",
                                                "--context", "3",   "--routing", routing};
    const nlohmann::json a = bench(arguments), b = bench(arguments);
    EXPECT_EQ(a["cold"]["hit_rate"], b["cold"]["hit_rate"]) << routing;
    EXPECT_EQ(a["setting"]["routing"], routing);
  }
}

TEST_F(BenchTest, PrefillHasItsKeys) {
  const nlohmann::json json = bench({"prefill", tiny_, "--tokens", "20", "--chunk", "8"});
  expect_positive(json, {"tok_s", "limit_tok_s", "fraction", "int8_ops_s", "int8_fraction",
                         "ops_per_token", "experts_touched_bytes", "predicted_tok_s"});
  EXPECT_EQ(json["steps"], 3);
  EXPECT_EQ(json["experts_missed_bytes"], 0);
  EXPECT_GT(json["cold"]["experts_missed_bytes"], 0);
  EXPECT_LE(json["cold"]["experts_missed_bytes"], json["cold"]["experts_touched_bytes"]);
}

TEST_F(BenchTest, ExpertsHasItsKeys) {
  const nlohmann::json json = bench({"experts", tiny_, "--tokens", "3", "--batch", "2"});
  expect_positive(json, {"gb_s", "limit_gb_s", "fraction", "tok_s", "int8_ops_s"});
  EXPECT_EQ(json["hit_rate"], 1);
  expect_share(json["cold"]["hit_rate"]);
  EXPECT_EQ(json["setting"]["routing"], "uniform");
}

TEST_F(BenchTest, IoHasEveryWay) {
  const nlohmann::json json = bench({"io", tiny_});
  expect_positive(json, {"gb_s"});
  for (const char* mode : {"uring", "pread", "buffered"}) {
    EXPECT_GE(json[mode]["gb_s"], 0) << mode;
    EXPECT_TRUE(std::isfinite(json[mode]["fraction"].get<double>())) << mode;
  }
  EXPECT_GE(json["buffered"]["read_overhead"], 1);
}

TEST_F(BenchTest, KernelsMeasuresTheFormatsNamed) {
  const nlohmann::json json = json_output(flashmoe(
      {"bench", "kernels", "--format", "Q4_K,4bit", "--json", "--repeat", "1", "--threads", "1"}));
  std::vector<std::string> named;
  for (const nlohmann::json& row : json["matvec"]) {
    expect_positive(row, {"gb_s", "limit_gb_s", "fraction"});
    if (named.empty() || named.back() != row["format"]) named.push_back(row["format"]);
  }
  EXPECT_EQ(named, (std::vector<std::string>{"Q4_K", "affine 4-bit g64"}));
  EXPECT_EQ(json["batch"].size(), 12u);
  EXPECT_EQ(json["gb_s"], json["matvec"][1]["gb_s"]);  // 1024 rows of what was named first
  expect_usage_error(flashmoe({"bench", "kernels", "--format", "q4_k,q7_k"}),
                     {"q7_k", "4bit", "bf16", "q4_k", "iq4_xs"});
}

TEST_F(BenchTest, ResultsGetOneRowEach) {
  const TempFolder temp;
  const std::string results = temp.path() + "/results.tsv";
  for (const char* note : {"first", "a\ttab and a\nline"}) {
    bench({"experts", tiny_, "--tokens", "1", "--results", results, "--note", note, "--verdict",
           "discard"});
  }
  std::ifstream file(results);
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    std::istringstream stream(line);
    rows.emplace_back();
    for (std::string field; std::getline(stream, field, '\t');) rows.back().push_back(field);
  }
  ASSERT_EQ(rows.size(), 3u);
  for (const auto& row : rows) ASSERT_EQ(row.size(), 13u);
  EXPECT_EQ(rows[0][0], "time");
  EXPECT_EQ(rows[1][3], "experts");
  EXPECT_GT(std::stod(rows[1][6]), 0);
  EXPECT_TRUE(nlohmann::json::parse(rows[1][10]).is_object());
  EXPECT_EQ(rows[1][11], "discard");
  EXPECT_EQ(rows[1][12], "first");
  EXPECT_EQ(rows[2][12], "a tab and a line");
}

TEST_F(BenchTest, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(flashmoe({"bench"}).exit_code, 2);
  EXPECT_EQ(flashmoe({"bench", "nothing"}).exit_code, 2);
  expect_usage_error(flashmoe({"bench", "decode", tiny_, "--routing", "other"}), {"other"});
}

class PlanTest : public TinyModelTest {
 protected:
  nlohmann::json plan(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"plan", tiny_, "--json"});
    return json_output(flashmoe(arguments, "", {{"XDG_CACHE_HOME", temp_.path()}}));
  }
  const TempFolder temp_;
};

TEST_F(PlanTest, AddsUpAndAgreesWithARun) {
  const nlohmann::json json = plan({"--memory", "400MiB", "--context", "512"});
  const nlohmann::json& memory = json["memory"];
  uint64_t parts = 0;
  for (const char* key : {"dense", "cache", "state", "staging", "scratch", "process"}) {
    parts += memory[key].get<uint64_t>();
  }
  EXPECT_EQ(memory["budget"], 400 << 20);
  EXPECT_LE(parts, memory["budget"]);
  EXPECT_EQ(memory["cache"], memory["all_experts"]);
  EXPECT_EQ(json["cache_share"], 1);
  EXPECT_EQ(json["hit_rate"], 1);
  EXPECT_EQ(json["context"], 512);
  expect_positive(json["generation"], {"tok_s", "bytes_per_token", "state_bytes_per_token"});
  expect_positive(json["prompt"], {"tok_s", "bytes_per_token"});
  expect_positive(json["limits"], {"memory_bytes_s", "int8_ops_s", "disk_bytes_s"});
  EXPECT_EQ(json["generation"]["disk_bytes_per_token"], 0);
  EXPECT_TRUE(json["advice"].empty()) << json["advice"];
  const nlohmann::json inspect = json_output(flashmoe({"inspect", tiny_, "--json"}));
  EXPECT_EQ(
      json["generation"]["bytes_per_token"].get<double>(),
      inspect["token_dense_bytes"].get<double>() + inspect["token_expert_bytes"].get<double>());
}

// The trained model's shape with eight times the experts: large enough to be streamed.
TEST_F(PlanTest, SaysWhatMoreMemoryWouldGive) {
  std::ifstream file(tiny_ + "/config.json");
  nlohmann::json config = nlohmann::json::parse(file);
  nlohmann::json& text = config.contains("text_config") ? config["text_config"] : config;
  text["num_experts"] = 8 * text["num_experts"].get<int>();
  const std::string model = temp_.file("model");
  ASSERT_EQ(flashmoe({"synth", temp_.write("config.json", config.dump()), model, "--bits", "4"})
                .exit_code,
            0);
  const auto plan_for = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"plan", model, "--json", "--context", "256"});
    return json_output(flashmoe(arguments, "", {{"XDG_CACHE_HOME", temp_.path()}}));
  };
  const nlohmann::json all = plan_for({})["memory"];
  const uint64_t half = all["minimum"].get<uint64_t>() + all["all_experts"].get<uint64_t>() / 2;
  const nlohmann::json json = plan_for({"--memory", std::to_string(half)});
  EXPECT_LT(json["cache_share"], 1);
  EXPECT_GT(json["cache_share"], 0.4);
  EXPECT_EQ(json["uniform_hit_rate"], json["cache_share"]);
  EXPECT_LT(json["uniform_hit_rate"], json["hit_rate"]);
  EXPECT_GT(json["generation"]["disk_bytes_per_token"], 0);
  EXPECT_GT(json["generation_uniform"]["disk_bytes_per_token"],
            json["generation"]["disk_bytes_per_token"]);
  ASSERT_FALSE(json["advice"].empty());
  EXPECT_NE(json["advice"][0].get<std::string>().find("all experts fit"), std::string::npos);
  EXPECT_NE(json["advice"][1].get<std::string>().find("flashmoe pack"), std::string::npos);

  const std::string store = temp_.file("store");
  ASSERT_EQ(flashmoe({"pack", model, store}).exit_code, 0);
  const std::vector<std::string> half_of_store = {
      "plan", store, "--json", "--context", "256", "--memory", std::to_string(half)};
  const nlohmann::json packed =
      json_output(flashmoe(half_of_store, "", {{"XDG_CACHE_HOME", temp_.path()}}));
  EXPECT_EQ(packed["advice"].size(), 1u) << packed["advice"];
}

TEST_F(PlanTest, MeasuresOnceUnlessAsked) {
  const nlohmann::json first = plan({}), second = plan({});
  EXPECT_EQ(first["limits"], second["limits"]);
  EXPECT_TRUE(std::filesystem::exists(temp_.path() + "/flashmoe/limits.json"));
  EXPECT_NE(plan({"--remeasure"})["limits"], first["limits"]);
}

TEST_F(PlanTest, ChunkFollowsTheOptionAndTheContext) {
  EXPECT_EQ(plan({"--chunk", "64"})["chunk"], 64);
  EXPECT_EQ(plan({"--context", "100"})["chunk"], 100);
  // Its experts take so little that there is nothing to take from them.
  EXPECT_EQ(plan({"--context", "4096"})["chunk"], 256);
}

TEST_F(PlanTest, TextSaysTheSame) {
  const Outcome outcome = flashmoe({"plan", tiny_}, "", {{"XDG_CACHE_HOME", temp_.path()}});
  EXPECT_EQ(outcome.exit_code, 0) << outcome;
  for (const char* part :
       {"memory", "dense", "experts", "machine", "disk", "generation", "prompt", "tok/s"}) {
    EXPECT_NE(outcome.out.find(part), std::string::npos) << part << " in " << outcome;
  }
}

TEST_F(PlanTest, RefusesTooSmallABudget) {
  expect_failure(flashmoe({"plan", tiny_, "--memory", "1MiB"}), {"needs at least"});
}

}  // namespace
}  // namespace flashmoe::cli

// For the tests of the program: running it as a user types it, the models it is run on, and what
// an error must look like. Nothing outside the given folders is read: the Hugging Face cache is an
// empty one.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/child_process.h"

namespace flashmoe::cli {

Command command(std::vector<std::string> arguments, std::string input = "",
                std::map<std::string, std::string> environment = {});
// The same, run to its end.
Outcome flashmoe(std::vector<std::string> arguments, std::string input = "",
                 std::map<std::string, std::string> environment = {});

// Standard output as one JSON value; a failed test and null when it is none or the run failed.
nlohmann::json json_output(const Outcome& outcome);

// The trained model: the embedded one, or the bf16 original beside the sources. Empty: neither.
std::string tiny_model();

std::filesystem::path golden_models();
std::vector<std::string> golden_model_names();  // sorted

// A test that runs the trained model; skipped where there is none.
class TinyModelTest : public testing::Test {
 protected:
  void SetUp() override {
    if (tiny_model().empty()) GTEST_SKIP() << "there is no trained model";
  }
  const std::string tiny_ = tiny_model();
};

// `flashmoe run <tiny> <arguments>` with greedy sampling, as JSON.
nlohmann::json greedy_run(std::vector<std::string> arguments, std::string input = "");

bool is_utf8(std::string_view text);
size_t entries(const std::string& folder);  // files and folders in it
// ‖a - b‖ / ‖b‖
double relative_error(std::span<const float> a, std::span<const float> b);

// The size that a refusal of a small budget names as the least, as it is printed.
std::string named_minimum(const Outcome& refusal);

// Exit code 2 or 1, nothing on standard output, and one clear sentence on standard error with all
// of `parts`.
void expect_usage_error(const Outcome& outcome, const std::vector<std::string>& parts);
void expect_failure(const Outcome& outcome, const std::vector<std::string>& parts);

}  // namespace flashmoe::cli

#include "tests/cli/flashmoe.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace flashmoe::cli {

namespace fs = std::filesystem;

namespace {

void expect_parts(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in: " << text;
  }
}

}  // namespace

Command command(std::vector<std::string> arguments, std::string input,
                std::map<std::string, std::string> environment) {
  environment.insert({"HOME", ""});  // nothing is kept there
  environment.insert({"HF_HOME", ""});
  environment.insert({"XDG_CACHE_HOME", ""});
  environment.insert({"HF_HUB_CACHE", "/nonexistent/hub"});
  return {FLASHMOE_BINARY, std::move(arguments), std::move(input), std::move(environment), "", 120};
}

Outcome flashmoe(std::vector<std::string> arguments, std::string input,
                 std::map<std::string, std::string> environment) {
  return run_command(command(std::move(arguments), std::move(input), std::move(environment)));
}

nlohmann::json json_output(const Outcome& outcome) {
  EXPECT_EQ(outcome.exit_code, 0) << outcome;
  const nlohmann::json json = nlohmann::json::parse(outcome.out, nullptr, false);
  if (!json.is_discarded()) return json;
  ADD_FAILURE() << "standard output is no JSON: " << outcome;
  return nullptr;
}

std::string tiny_model() {
  const fs::path source = FLASHMOE_SOURCE_DIR;
  for (const fs::path& folder :
       {source / "models/tiny", source.parent_path() / "shared/models/tiny-bf16"}) {
    if (fs::exists(folder / "config.json")) return folder;
  }
  return "";
}

fs::path golden_models() { return fs::path(FLASHMOE_SOURCE_DIR) / "tests/golden/models"; }

std::vector<std::string> golden_model_names() {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(golden_models())) {
    if (fs::exists(entry.path() / "logits.npy")) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

nlohmann::json greedy_run(std::vector<std::string> arguments, std::string input) {
  std::vector<std::string> all = {"run", "-m", tiny_model(), "--temp", "0", "--json"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return json_output(flashmoe(std::move(all), std::move(input)));
}

bool is_utf8(std::string_view text) {
  // nlohmann refuses to write anything else.
  try {
    (void)nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

size_t entries(const std::string& folder) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

double relative_error(std::span<const float> a, std::span<const float> b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return std::sqrt(difference / norm);
}

std::string named_minimum(const Outcome& refusal) {
  const std::string words = "needs at least ";
  const size_t begin = refusal.err.find(words);
  EXPECT_NE(begin, std::string::npos) << refusal;
  if (begin == std::string::npos) return "";
  const size_t size = begin + words.size();
  return refusal.err.substr(size, refusal.err.find(" (", size) - size);
}

void expect_usage_error(const Outcome& outcome, const std::vector<std::string>& parts) {
  EXPECT_EQ(outcome.exit_code, 2) << outcome;
  EXPECT_EQ(outcome.out, "");
  expect_parts(outcome.err, parts);
}

void expect_failure(const Outcome& outcome, const std::vector<std::string>& parts) {
  EXPECT_EQ(outcome.exit_code, 1) << outcome;
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("flashmoe: ")) << outcome;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome;
  expect_parts(outcome.err, parts);
}

}  // namespace flashmoe::cli

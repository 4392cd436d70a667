// Opening an engine: what ends it before it is done.
#include <gtest/gtest.h>

#include "base/error.h"
#include "flashmoe/engine.h"

namespace flashmoe {
namespace {

TEST(OpenTest, ProgressMayEndTheLoading) {
  EngineOptions options;
  options.model = std::string(FLASHMOE_SOURCE_DIR) + "/tests/golden/models/qwen3_next_split_bf16";
  int calls = 0;
  options.progress = [&](uint64_t done_bytes, uint64_t total_bytes) {
    EXPECT_LE(done_bytes, total_bytes);
    if (++calls == 3) throw Error(ErrorCode::kCancelled, "stopped");
  };
  try {
    Engine::open(options);
    ADD_FAILURE() << "was not stopped";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
    EXPECT_EQ(error.exit_code(), 130);
  }
  EXPECT_EQ(calls, 3);
  options.progress = nullptr;
  EXPECT_NE(Engine::open(options), nullptr);
}

}  // namespace
}  // namespace flashmoe

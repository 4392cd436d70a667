#include "model/state.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"

namespace flashmoe::model {
namespace {

StateShape small_shape() {
  StateShape shape;
  shape.attention_layers = 2;
  shape.delta_layers = 2;
  shape.attention = {2, 1, 4, 4, 1e-6f, kernels::KvType::kF16};
  shape.delta = {1, 2, 4, 4, 4, 1e-6f};
  return shape;
}

// Runs a step of `tokens` that leaves `mark` in every delta state and in the pages it touched.
void run_step(State& state, int64_t tokens, float mark, bool commit = true) {
  state.reserve(tokens);
  for (int layer = 0; layer < 2; ++layer) {
    const kernels::DeltaNetSegment segment = state.recurrent(layer);
    segment.state_out[0] = segment.state_in[0] * 10 + mark;
    segment.conv_out[0] = mark + static_cast<float>(layer);
    const std::vector<std::byte*>& pages = state.pages(layer);
    for (int64_t t = state.length(); t < state.length() + tokens; ++t) {
      pages[static_cast<size_t>(t / kernels::kPageTokens)][t % kernels::kPageTokens] =
          std::byte(static_cast<int>(mark));
    }
  }
  if (commit) state.commit(tokens);
}

TEST(StateTest, AStepThatIsNotCommittedLeavesNoTrace) {
  const StateShape shape = small_shape();
  PagePool pool(shape.page_bytes(), 4);
  State state(shape, pool);
  run_step(state, 3, 1);
  run_step(state, 2, 7, false);
  EXPECT_EQ(state.length(), 3);
  EXPECT_EQ(state.recurrent(0).state_in[0], 1);
  run_step(state, 2, 2);
  EXPECT_EQ(state.recurrent(0).state_in[0], 12);
  EXPECT_EQ(state.recurrent(1).conv_in[0], 3);
  EXPECT_EQ(state.length(), 5);
}

TEST(StateTest, LayersHaveMemoryOfTheirOwn) {
  const StateShape shape = small_shape();
  PagePool pool(shape.page_bytes(), 4);
  State state(shape, pool);
  run_step(state, 1, 5);
  EXPECT_EQ(state.recurrent(0).conv_in[0], 5);
  EXPECT_EQ(state.recurrent(1).conv_in[0], 6);
  const std::byte* first = state.pages(0)[0];
  EXPECT_EQ(state.pages(1)[0], first + shape.attention.page_bytes());
}

TEST(StateTest, SnapshotsShareFullPagesAndKeepTheLast) {
  const StateShape shape = small_shape();
  PagePool pool(shape.page_bytes(), 5);
  State state(shape, pool);
  run_step(state, 300, 1);
  const Snapshot snapshot = state.snapshot();
  EXPECT_EQ(snapshot.length(), 300);
  const std::byte* shared = state.pages(0)[0];
  run_step(state, 100, 2);  // writes behind position 300, in a page of its own
  EXPECT_EQ(state.pages(0)[0], shared);

  State other(shape, pool);
  other.restore(snapshot);
  EXPECT_EQ(other.length(), 300);
  EXPECT_EQ(other.recurrent(0).state_in[0], 1);
  EXPECT_EQ(other.pages(0)[0], shared);
  EXPECT_EQ(other.pages(0)[1][299 - 256], std::byte(1));
  EXPECT_EQ(other.pages(0)[1][300 - 256], std::byte(0)) << "the other sequence wrote into it";
  run_step(other, 100, 3);
  EXPECT_EQ(state.pages(0)[1][300 - 256], std::byte(2));
  EXPECT_EQ(other.pages(0)[1][300 - 256], std::byte(3));
}

TEST(StateTest, PagesComeBackToThePool) {
  const StateShape shape = small_shape();
  PagePool pool(shape.page_bytes(), 2);
  for (int time = 0; time < 5; ++time) {
    State state(shape, pool);
    run_step(state, 512, 1);
    EXPECT_THROW(state.reserve(1), Error);
    EXPECT_EQ(state.length(), 512);
    state.clear();
    EXPECT_EQ(state.recurrent(0).state_in[0], 0);
    run_step(state, 512, 2);
  }
}

TEST(StateTest, PagesAreRepeatedInOrder) {
  const StateShape shape = small_shape();
  PagePool pool(shape.page_bytes(), 5);
  State state(shape, pool);
  run_step(state, 256, 1);
  run_step(state, 256, 2);
  const Snapshot before = state.snapshot();
  state.repeat_pages(1100);
  EXPECT_EQ(state.length(), 1100);
  for (int layer = 0; layer < 2; ++layer) {
    const std::vector<std::byte*>& pages = state.pages(layer);
    ASSERT_EQ(pages.size(), 5u);
    for (int page = 0; page < 5; ++page) {
      EXPECT_EQ(pages[static_cast<size_t>(page)][75], std::byte(1 + page % 2));
    }
  }
  EXPECT_EQ(state.recurrent(0).state_in[0], 12);
  EXPECT_NE(state.pages(0)[2], state.pages(0)[0]) << "each page has memory of its own";
  run_step(state, 100, 3);  // behind position 1100, in the last page
  EXPECT_EQ(state.pages(0)[4][1100 - 4 * 256], std::byte(3));
  state.restore(before);
  EXPECT_EQ(state.pages(0)[0][75], std::byte(1));
}

TEST(StateTest, AModelWithoutAttentionNeedsNoPages) {
  StateShape shape = small_shape();
  shape.attention_layers = 0;
  PagePool pool(shape.page_bytes(), 0);
  State state(shape, pool);
  state.reserve(100000);
  state.commit(100000);
  EXPECT_EQ(state.length(), 100000);
}

}  // namespace
}  // namespace flashmoe::model

#include "experts/expert_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <random>

#include "tests/support/sanitized.h"

namespace flashmoe::experts {
namespace {

// The ages of a step's one token.
constexpr int32_t kOne[] = {0};

constexpr size_t kPage = 4096;

TEST(ExpertCacheTest, HoldsWhatTheBudgetAllows) {
  const ExpertIndex index(1, 8);
  ExpertCache cache(index, {kPage}, 3 * kPage);
  for (ExpertKey key : {0, 1, 2}) {
    std::optional<ExpertPin> slot = cache.reserve(key);
    ASSERT_TRUE(slot);
    std::memset(slot->data(), key + 1, kPage);
    slot->publish();
  }
  EXPECT_EQ(cache.resident_experts(), 3);
  EXPECT_EQ(cache.resident_bytes(), 3 * kPage);
  for (ExpertKey key : {0, 1, 2}) {
    const std::optional<ExpertPin> pin = cache.find(key);
    ASSERT_TRUE(pin);
    EXPECT_EQ(pin->data()[kPage - 1], std::byte(key + 1));
  }
  EXPECT_FALSE(cache.find(3));
}

TEST(ExpertCacheTest, EvictsTheLeastVisitedThatIsNotPinned) {
  const ExpertIndex index(1, 8);
  ExpertCache cache(index, {kPage}, 2 * kPage);
  const auto load = [&](ExpertKey key) {
    std::optional<ExpertPin> slot = cache.reserve(key);
    if (slot) slot->publish();
    return slot.has_value();
  };
  for (ExpertKey key : {0, 1}) {
    cache.begin_step(1);
    cache.visit(key, kOne);
    ASSERT_TRUE(load(key));
  }
  {
    const std::optional<ExpertPin> pin = cache.find(0);  // the least visited, but in use
    ASSERT_TRUE(load(2));
    EXPECT_TRUE(cache.find(0));
    EXPECT_FALSE(cache.find(1));
    const std::optional<ExpertPin> other = cache.find(2);
    EXPECT_FALSE(cache.reserve(3)) << "everything is pinned";
  }
  EXPECT_TRUE(load(3));
}

TEST(ExpertCacheTest, ASlotThatIsNeverPublishedComesBack) {
  const ExpertIndex index(1, 4);
  ExpertCache cache(index, {kPage}, kPage);
  { const std::optional<ExpertPin> slot = cache.reserve(0); }
  EXPECT_EQ(cache.resident_bytes(), 0u);
  EXPECT_FALSE(cache.find(0));
  EXPECT_TRUE(cache.reserve(1));
}

TEST(ExpertCacheTest, ASlotTakesOtherMemory) {
  const ExpertIndex index(1, 8);
  ExpertCache cache(index, {kPage}, 2 * kPage);
  ASSERT_EQ(cache.common_slot_bytes(), kPage);
  AlignedBuffer other(kPage);
  std::optional<ExpertPin> slot = cache.reserve(0);
  std::byte* const before = slot->data();
  EXPECT_EQ(slot->exchange(other.data()), before);
  slot->publish();
  slot.reset();
  EXPECT_EQ(cache.find(0)->data(), other.data());
  // Whoever comes into the slot later finds the same memory.
  cache.reserve(1)->publish();
  slot = cache.reserve(2);
  EXPECT_EQ(slot->data(), other.data());

  const ExpertIndex two(2, 8);
  EXPECT_EQ(ExpertCache(two, {kPage, 2 * kPage}, 8 * kPage).common_slot_bytes(), 0u);
}

TEST(ExpertCacheTest, SizeClassesShareTheBudget) {
  const ExpertIndex index(3, 4);  // layer 1 has no experts
  ExpertCache cache(index, {kPage, 0, 3 * kPage - 5}, 6 * kPage);
  const auto load = [&](ExpertKey key) {
    cache.begin_step(1);
    cache.visit(key, kOne);
    std::optional<ExpertPin> slot = cache.reserve(key);
    ASSERT_TRUE(slot);
    slot->data()[0] = std::byte(1);
    slot->publish();
  };
  for (int e = 0; e < 4; ++e) load(index.key(0, e));  // 4 pages
  load(index.key(2, 0));                              // 3 more: one small one must go
  EXPECT_EQ(cache.resident_bytes(), 6 * kPage);
  EXPECT_FALSE(cache.find(index.key(0, 0)));
  load(index.key(2, 1));  // the small ones go
  EXPECT_EQ(cache.resident_experts(), 2);
  EXPECT_EQ(cache.resident_bytes(), 6 * kPage);
  load(index.key(0, 3));  // and a large one
  EXPECT_EQ(cache.resident_bytes(), 4 * kPage);
}

TEST(ExpertCacheTest, AnExpertLargerThanTheBudgetNeverFits) {
  const ExpertIndex index(1, 4);
  ExpertCache cache(index, {2 * kPage}, kPage);
  EXPECT_FALSE(cache.reserve(0));
}

// Steps that use every expert of every layer in turn: the best that any policy can do is to keep as
// many as fit, and not to let each layer push out the next.
TEST(ExpertCacheTest, KeepsItsShareOfWhatIsUsedInTurn) {
  constexpr int kLayers = 4, kExperts = 16, kSlots = 24;
  const ExpertIndex index(kLayers, kExperts);
  ExpertCache cache(index, std::vector<size_t>(kLayers, kPage), kSlots * kPage);
  for (int step = 0; step < 6; ++step) {
    int hits = 0;
    cache.begin_step(1);
    for (int layer = 0; layer < kLayers; ++layer) {
      for (int e = 0; e < kExperts; ++e) cache.visit(index.key(layer, e), kOne);
      std::vector<ExpertKey> misses;
      for (int e = 0; e < kExperts; ++e) {
        const ExpertKey key = index.key(layer, e);
        if (cache.find(key)) {
          ++hits;
        } else {
          misses.push_back(key);
        }
      }
      for (ExpertKey key : misses) cache.reserve(key, ExpertCache::Victim::kOfFullLayer)->publish();
    }
    EXPECT_EQ(hits, step == 0 ? 0 : kSlots);
  }
}

// Resident memory of this process.
size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  size_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Slots of one class give way to those of another, thousands of times: a system that backs parts of
// them with huge pages would make holes grow back.
TEST(ExpertCacheTest, SeveralClassesStayWithinTheirBudget) {
#ifdef FLASHMOE_SANITIZED
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  if (resident_bytes() == 0) GTEST_SKIP() << "no /proc/self/statm";
  constexpr int kExperts = 512;
  constexpr size_t kSmall = 37 * kPage, kLarge = 51 * kPage, kBudget = size_t{48} << 20;
  const ExpertIndex index(2, kExperts);
  const size_t before = resident_bytes();
  ExpertCache cache(index, {kSmall, kLarge}, kBudget);
  std::mt19937 random(5);
  size_t peak = 0;
  for (int i = 0; i < 4000; ++i) {
    // For a while mostly one class, then mostly the other.
    const int layer = (i / 500 % 2 == 0) == (random() % 8 != 0) ? 0 : 1;
    const ExpertKey key = index.key(layer, static_cast<int>(random() % kExperts));
    cache.begin_step(1);
    cache.visit(key, kOne);
    if (cache.find(key)) continue;
    std::optional<ExpertPin> slot = cache.reserve(key);
    ASSERT_TRUE(slot);
    std::memset(slot->data(), 1, layer == 0 ? kSmall : kLarge);
    slot->publish();
    if (i % 50 == 0) peak = std::max(peak, resident_bytes());
  }
  EXPECT_GT(peak - before, kBudget / 2);
  EXPECT_LT(peak - before, kBudget + (size_t{1} << 20));
}

}  // namespace
}  // namespace flashmoe::experts

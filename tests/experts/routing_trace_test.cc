#include "experts/routing_trace.h"

#include <gtest/gtest.h>

#include <sstream>

#include "base/error.h"
#include "experts/routing_source.h"
#include "experts/synthetic_routing.h"
#include "tests/base/temp_folder.h"

namespace flashmoe::experts {
namespace {

// Two layers of five experts, of which two are picked; a step of one row and one of two.
const RoutingShape kShape{2, 5, 2};
const TraceStep kOne{1, {3, 1, 4, 0}, {kNoPick, kNoPick, 4, 2}};
const TraceStep kTwo{2, {0, 1, 2, 3, 4, 3, 1, 2}, {kNoPick, kNoPick, kNoPick, kNoPick, 4, 2, 1, 2}};

std::string bytes_of(std::initializer_list<int> values) {
  return std::string(values.begin(), values.end());
}

// The file that holds both steps, byte for byte.
std::string expected_file() {
  return "fmroutes" +
         bytes_of({1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0}) +
         "tiny" + bytes_of({1, 0, 0, 0, 3, 0, 1, 0, 4, 0, 0, 0, 255, 255, 255, 255, 4, 0, 2, 0}) +
         bytes_of({2, 0, 0,   0,   0,   0,   1,   0,   2,   0,   3, 0, 4, 0, 3, 0, 1, 0,
                   2, 0, 255, 255, 255, 255, 255, 255, 255, 255, 4, 0, 2, 0, 1, 0, 2, 0});
}

RoutingTrace parse(const std::string& bytes) {
  std::istringstream stream(bytes);
  return read_routing_trace(stream, bytes.size(), "trace");
}

std::string failure(const std::string& bytes) {
  try {
    parse(bytes);
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kUnsupported);
    return error.what();
  }
  return "";
}

TEST(RoutingTraceTest, IsWrittenAsDocumentedAndReadBack) {
  const TempFolder folder;
  RoutingTraceWriter writer(folder.file("t"), "tiny", kShape, true);
  writer.write(kOne);
  writer.write(kTwo);
  EXPECT_FALSE(std::filesystem::exists(folder.file("t"))) << "before it is whole";
  writer.finish();
  EXPECT_EQ(folder.read("t"), expected_file());

  const RoutingTrace trace = read_routing_trace(folder.file("t"));
  EXPECT_EQ(trace.model, "tiny");
  EXPECT_EQ(trace.shape, kShape);
  EXPECT_EQ(trace.rows(), 3);
  ASSERT_EQ(trace.steps.size(), 2u);
  EXPECT_EQ(trace.steps[0].picks, kOne.picks);
  EXPECT_EQ(trace.steps[0].early, kOne.early);
  EXPECT_EQ(trace.steps[1].rows, 2);
  EXPECT_EQ(trace.steps[1].picks, kTwo.picks);
  EXPECT_EQ(trace.steps[1].early, kTwo.early);
}

TEST(RoutingTraceTest, RoundTripsALargeShape) {
  const TempFolder folder;
  const RoutingShape shape{48, 512, 10};
  SyntheticRouting routing(shape, 3);
  const std::vector<int64_t> rows = {7, 1, 1, 30, 1};
  const RoutingTrace made = generate_trace(routing, shape, rows);
  RoutingTraceWriter writer(folder.file("t"), "made up", shape, false);
  for (const TraceStep& step : made.steps) writer.write(step);
  writer.finish();
  const RoutingTrace trace = read_routing_trace(folder.file("t"));
  ASSERT_EQ(trace.steps.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(trace.steps[i].rows, rows[i]);
    EXPECT_TRUE(trace.steps[i].picks == made.steps[i].picks) << i;
    EXPECT_TRUE(trace.steps[i].early.empty());
  }
}

TEST(RoutingTraceTest, RefusesEveryCutButThoseBetweenSteps) {
  const std::string whole = expected_file();
  const size_t header = 8 + 24 + 4, one = 4 + 16;
  for (size_t n = 0; n < whole.size(); ++n) {
    const std::string what = failure(whole.substr(0, n));
    if (n == header || n == header + one) {
      EXPECT_EQ(what, "") << n;
    } else {
      EXPECT_NE(what.find("trace: "), std::string::npos) << n << ": " << what;
    }
  }
}

TEST(RoutingTraceTest, NamesWhatIsWrongAndWhere) {
  const auto with = [](size_t offset, int value) {
    std::string bytes = expected_file();
    bytes[offset] = static_cast<char>(value);
    return failure(bytes);
  };
  const auto expect = [](const std::string& what, const std::vector<std::string>& parts) {
    for (const std::string& part : parts) {
      EXPECT_NE(what.find(part), std::string::npos) << part << " in: " << what;
    }
  };
  expect(with(0, 'x'), {"is not a routing trace"});
  expect(with(8, 9), {"version 9"});
  expect(with(12, 2), {"flags", "offset 16"});
  expect(with(16, 0), {"number of layers is 0", "offset 20"});
  expect(with(24, 6), {"experts of a row is 6, not 1 to 5", "offset 28"});
  expect(with(31, 1), {"name", "offset 32"});
  expect(with(36, 0), {"number of rows is 0", "offset 40"});
  expect(with(39, 1), {"number of rows", "offset 40"});  // 2^24
  expect(with(38, 1), {"step of 65537 rows", "beyond the end"});
  expect(with(40, 5), {"expert 5 of 5"});
  expect(with(40, 1), {"expert 1 twice"});
  expect(with(48, 4), {"expert 65284 of 5"});  // half a guess
}

TEST(RoutingTraceTest, RefusesWhatTheFormatCannotHold) {
  const TempFolder folder;
  EXPECT_THROW(RoutingTraceWriter(folder.file("t"), "m", {0, 8, 2}, false), Error);
  EXPECT_THROW(RoutingTraceWriter(folder.file("t"), "m", {1, 65536, 2}, false), Error);
  EXPECT_THROW(read_routing_trace(folder.file("none")), Error);
  EXPECT_THROW(read_routing_trace(folder.path()), Error);
}

}  // namespace
}  // namespace flashmoe::experts

#include "server/stop_strings.h"

#include <gtest/gtest.h>

namespace flashmoe::server {
namespace {

// In pieces of every size: what comes out, and which stop string ended it.
void expect_cut(const std::vector<std::string>& stops, const std::string& text,
                const std::string& expected, const std::string& which) {
  for (size_t step = 1; step <= text.size(); ++step) {
    StopStrings finder(stops);
    std::string out;
    for (size_t at = 0; at < text.size(); at += step) out += finder.push(text.substr(at, step));
    out += finder.finish();
    EXPECT_EQ(out, expected) << step;
    EXPECT_EQ(finder.which(), which) << step;
    EXPECT_EQ(finder.found(), !which.empty()) << step;
  }
}

TEST(StopStringsTest, CutsAtTheFirst) {
  expect_cut({"END"}, "one END two END", "one ", "END");
  expect_cut({"two", "one"}, "one two", "", "one");
  expect_cut({"END"}, "nothing of the kind", "nothing of the kind", "");
  expect_cut({"END"}, "at the very EN", "at the very EN", "");
  expect_cut({"aab"}, "aaaaab!", "aaa", "aab");
  expect_cut({}, "anything", "anything", "");
}

}  // namespace
}  // namespace flashmoe::server

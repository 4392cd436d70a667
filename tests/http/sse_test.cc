#include "http/sse.h"

#include <gtest/gtest.h>

namespace flashmoe::http {
namespace {

using Events = std::vector<SseEvent>;

TEST(SseTest, WritesEvents) {
  EXPECT_EQ(sse_text("{}"), "data: {}\n\n");
  EXPECT_EQ(sse_text("a\nb", "ping"), "event: ping\ndata: a\ndata: b\n\n");
}

TEST(SseTest, ReadsWhatItWrites) {
  SseReader reader;
  EXPECT_EQ(reader.push(sse_text("a\n\nb", "n") + sse_text("")),
            (Events{{"n", "a\n\nb"}, {"", ""}}));
}

// https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
TEST(SseTest, ReadsTheSpecificationsForms) {
  const std::string stream =
      ": comment\n\ndata:x\ndata:  y\r\nid: 1\r\n\r\ndata\n\nevent: only a name\n\n"
      "event: n\rdata: z\r\rdata: cut";
  const Events expected = {{"", "x\n y"}, {"", ""}, {"n", "z"}};
  for (size_t step : {size_t{1}, size_t{3}, stream.size()}) {
    SseReader reader;
    Events events;
    for (size_t at = 0; at < stream.size(); at += step) {
      for (SseEvent& event : reader.push(std::string_view(stream).substr(at, step))) {
        events.push_back(event);
      }
    }
    EXPECT_EQ(events, expected) << step;
  }
}

}  // namespace
}  // namespace flashmoe::http

#include "http/message.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace flashmoe::http {
namespace {

TEST(MessageTest, FindsHeadersWhateverTheirCase) {
  const std::vector<Header> headers = {
      {"Content-Type", "a"}, {"X-API-Key", "k"}, {"x-api-key", "l"}};
  ASSERT_NE(find_header(headers, "x-api-key"), nullptr);
  EXPECT_EQ(*find_header(headers, "x-api-key"), "k");
  EXPECT_EQ(find_header(headers, "x-api"), nullptr);
}

TEST(MessageTest, DecodesPercentEscapes) {
  EXPECT_EQ(percent_decode("/v1/models/org%2Fname%41"), "/v1/models/org/nameA");
  for (const char* broken : {"%", "%4", "a%zz", "%00"}) {
    EXPECT_EQ(percent_decode(broken), std::nullopt) << broken;
  }
}

TEST(MessageTest, NoValueBreaksOutOfItsHeader) {
  Response response;
  response.headers = {{"x", "a\r\nset-cookie: b"}};
  EXPECT_EQ(response_head(response, "content-length: 0", true),
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx: a  set-cookie: b\r\n"
            "content-length: 0\r\nconnection: keep-alive\r\n\r\n");
}

TEST(MessageTest, ParsesUrls) {
  const auto expect = [](const char* text, const char* host, const char* port, const char* path) {
    const Url url = parse_url(text);
    EXPECT_EQ(url.host, host) << text;
    EXPECT_EQ(url.port, port) << text;
    EXPECT_EQ(url.path, path) << text;
  };
  expect("http://127.0.0.1:8080", "127.0.0.1", "8080", "");
  expect("localhost", "localhost", "80", "");
  expect("http://[::1]:9/base/", "::1", "9", "/base");
  for (const char* bad :
       {"", "http://", "https://a", "http://a:b", "http://a:123456", "http://[::1", "http://[::1]9",
        "http://u@h", "http://a b", "http://a/b c"}) {
    EXPECT_THROW(parse_url(bad), Error) << bad;
  }
}

}  // namespace
}  // namespace flashmoe::http

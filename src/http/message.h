// HTTP messages as plain data, and what is asked of their texts: header names without case,
// targets, URLs. Owns no sockets; the library that speaks the protocol is known to server.cc's
// neighbours connection.cc and client.cc alone.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flashmoe::http {

using Header = std::pair<std::string, std::string>;

// The value of the first header of that name, whatever its case; nullptr: none.
const std::string* find_header(const std::vector<Header>& headers, std::string_view name);

struct Request {
  std::string method;  // "GET"
  std::string path;    // of the target, without query; percent-escapes are decoded
  std::string query;   // without '?', as it came
  std::vector<Header> headers;
  std::string body;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";  // empty: no body and no such header
  std::string body = {};
  std::vector<Header> headers = {};
};

// "Not Found"; "Unknown" for numbers that have no name here.
std::string_view status_text(int status);

// "%41b" -> "Ab"; nullopt when an escape is broken or stands for a zero byte.
std::optional<std::string> percent_decode(std::string_view text);

// The status line and headers of a response, to the empty line. `framing` is "content-length: 12"
// or "transfer-encoding: chunked". Line breaks in values become spaces.
std::string response_head(const Response& response, std::string_view framing, bool keep_alive);

struct Url {
  std::string host;  // without brackets
  std::string port;  // "80" when it was not given
  std::string path;  // without a slash at the end: "" or "/base"
};
// "http://127.0.0.1:8080", "localhost:8080", "http://[::1]:9/base". Throws Error kUsage.
Url parse_url(const std::string& text);

}  // namespace flashmoe::http

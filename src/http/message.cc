#include "http/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/error.h"

namespace flashmoe::http {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; }, ' ');
  return text;
}

}  // namespace

const std::string* find_header(const std::vector<Header>& headers, std::string_view name) {
  for (const Header& header : headers) {
    if (std::ranges::equal(header.first, name,
                           [](char a, char b) { return lower(a) == lower(b); })) {
      return &header.second;
    }
  }
  return nullptr;
}

std::string_view status_text(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Payload Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Unknown";
  }
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
    out += static_cast<char>(16 * high + low);
    i += 2;
  }
  return out;
}

std::string response_head(const Response& response, std::string_view framing, bool keep_alive) {
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\n", response.status, status_text(response.status));
  const auto out = std::back_inserter(head);
  if (!response.content_type.empty()) {
    fmt::format_to(out, "content-type: {}\r\n", one_line(response.content_type));
  }
  for (const Header& header : response.headers) {
    fmt::format_to(out, "{}: {}\r\n", one_line(header.first), one_line(header.second));
  }
  if (!framing.empty()) fmt::format_to(out, "{}\r\n", framing);
  fmt::format_to(out, "connection: {}\r\n\r\n", keep_alive ? "keep-alive" : "close");
  return head;
}

Url parse_url(const std::string& text) {
  const auto refuse = [&text]() {
    throw_error(ErrorCode::kUsage, "'{}' is no address; give it as http://HOST:PORT", text);
  };
  std::string_view rest = text;
  if (rest.starts_with("https://")) {
    throw_error(ErrorCode::kUsage, "{}: TLS is not supported; use http://", text);
  }
  if (rest.starts_with("http://")) rest.remove_prefix(7);
  Url url;
  const size_t slash = std::min(rest.find('/'), rest.size());
  url.path = rest.substr(slash);
  while (url.path.ends_with('/')) url.path.pop_back();
  rest = rest.substr(0, slash);
  if (rest.starts_with('[')) {
    const size_t end = rest.find(']');
    if (end == std::string_view::npos) refuse();
    url.host = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
  } else {
    const size_t colon = std::min(rest.find(':'), rest.size());
    url.host = rest.substr(0, colon);
    rest.remove_prefix(colon);
  }
  url.port = rest.empty() ? "80" : rest.substr(1);
  const bool digits = !url.port.empty() && url.port.size() <= 5 &&
                      url.port.find_first_not_of("0123456789") == std::string::npos;
  if (url.host.empty() || (!rest.empty() && rest[0] != ':') || !digits) refuse();
  if (url.host.find_first_of(" \t\r\n@?#%") != std::string::npos ||
      url.path.find_first_of(" \t\r\n") != std::string::npos) {
    refuse();
  }
  return url;
}

}  // namespace flashmoe::http

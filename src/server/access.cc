#include "server/access.h"

#include <algorithm>
#include <string_view>

namespace flashmoe::server {

namespace {

// Of "host:port", also "[::1]:80".
std::string_view host_of(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

// Names that can only mean this machine, and plain addresses, which no foreign name server decides.
bool is_local_name(std::string_view host) {
  if (host == "localhost" || host.ends_with(".localhost") || host.starts_with('[')) return true;
  return host.find_first_not_of("0123456789.") == std::string_view::npos;
}

// In a time that says nothing of where they differ.
bool equal_secrets(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() != b.size();
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i] ^ (b.empty() ? 0 : b[i % b.size()]));
  }
  return difference == 0;
}

}  // namespace

std::optional<ApiError> check_origin(const http::Request& request, const AccessRules& rules) {
  const std::string* host = http::find_header(request.headers, "host");
  if (rules.local_only && host != nullptr && !is_local_name(host_of(*host))) {
    return ApiError(403, "this server answers only to localhost and plain addresses, not to '" +
                             *host + "'; start it with --host to serve others");
  }
  const std::string* origin = http::find_header(request.headers, "origin");
  if (origin == nullptr || rules.cors_origin == "*" || *origin == rules.cors_origin) {
    return std::nullopt;
  }
  const size_t scheme = origin->find("://");
  if (host != nullptr && scheme != std::string::npos && origin->substr(scheme + 3) == *host) {
    return std::nullopt;
  }
  return ApiError(403, "pages of '" + *origin + "' may not ask here; start the server with --cors");
}

std::optional<ApiError> check_key(const http::Request& request, const AccessRules& rules) {
  if (rules.api_key.empty()) return std::nullopt;
  std::string_view given;
  if (const std::string* key = http::find_header(request.headers, "x-api-key")) given = *key;
  if (const std::string* header = http::find_header(request.headers, "authorization")) {
    std::string_view value = *header;
    const std::string_view scheme = value.substr(0, 7);
    if (scheme == "Bearer " || scheme == "bearer ") given = value.substr(7);
  }
  if (equal_secrets(rules.api_key, given)) return std::nullopt;
  return ApiError(401, given.empty()
                           ? "an API key is needed: Authorization: Bearer KEY, or x-api-key: KEY"
                           : "the API key is wrong");
}

std::vector<http::Header> cors_headers(const AccessRules& rules) {
  if (rules.cors_origin.empty()) return {};
  std::vector<http::Header> headers = {
      {"access-control-allow-origin", rules.cors_origin},
      {"access-control-expose-headers", "x-request-id, request-id"}};
  if (rules.cors_origin != "*") headers.emplace_back("vary", "origin");
  return headers;
}

http::Response preflight_response(const http::Request& request, const AccessRules& rules) {
  http::Response response{204, ""};
  response.headers = cors_headers(rules);
  response.headers.emplace_back("allow", "GET, HEAD, POST, OPTIONS");
  if (!rules.cors_origin.empty()) {
    const std::string* wanted =
        http::find_header(request.headers, "access-control-request-headers");
    response.headers.emplace_back("access-control-allow-methods", "GET, POST, OPTIONS");
    response.headers.emplace_back("access-control-allow-headers",
                                  wanted != nullptr ? *wanted : "authorization, content-type");
    response.headers.emplace_back("access-control-max-age", "86400");
  }
  return response;
}

}  // namespace flashmoe::server

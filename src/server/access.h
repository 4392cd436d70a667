// Who may ask: API keys, and what browsers may do on behalf of foreign pages. Pure functions of a
// request.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "http/message.h"
#include "server/api_error.h"

namespace flashmoe::server {

struct AccessRules {
  std::string api_key;      // empty: none is asked for
  std::string cors_origin;  // an origin, "*", or empty for none
  bool local_only = false;  // listens on this machine's own addresses alone
};

// Why a request is refused, if it is. A server that only this machine can reach answers only to
// names of this machine: a foreign page may otherwise get at it by a name of its own that it lets
// point here. A page's request is refused unless it is the server's own page or of `cors_origin`.
std::optional<ApiError> check_origin(const http::Request& request, const AccessRules& rules);

// Whether the key of `Authorization: Bearer` or `x-api-key` is right.
std::optional<ApiError> check_key(const http::Request& request, const AccessRules& rules);

// What to add to an answer, and the answer to a browser's preflight request.
std::vector<http::Header> cors_headers(const AccessRules& rules);
http::Response preflight_response(const http::Request& request, const AccessRules& rules);

}  // namespace flashmoe::server

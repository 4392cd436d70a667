#include "server/pages.h"

#include "server/embedded.h"

namespace flashmoe::server {

http::Response index_page() { return {200, "text/html; charset=utf-8", embedded::index_html()}; }

http::Response openapi_page() { return {200, "application/json", embedded::openapi_json()}; }

}  // namespace flashmoe::server

// What is served as it is: the page at / and the description of the API.
#pragma once

#include "http/message.h"

namespace flashmoe::server {

http::Response index_page();
http::Response openapi_page();

}  // namespace flashmoe::server

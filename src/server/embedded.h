// Files of web/ that are part of the program; CMake writes embedded.cc from them.
#pragma once

namespace flashmoe::server::embedded {

const char* index_html();
const char* openapi_json();

}  // namespace flashmoe::server::embedded

// Which state of the sources this program was built from. commit.cc is generated at build time
// (cmake/WriteCommit.cmake).
#pragma once

namespace flashmoe::bench {

// "0a2153a", with "+" when files were changed since; "unknown" outside a git repository.
const char* commit_name();

}  // namespace flashmoe::bench

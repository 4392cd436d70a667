#include "server/api_error.h"

namespace flashmoe::server {

ApiError api_error(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kUsage:
    case ErrorCode::kUnsupported:
      return {400, error.what()};
    case ErrorCode::kCancelled:
      return {503, "the server is shutting down"};
    case ErrorCode::kMemory:
      return {503, error.what()};
    default:
      return {500, error.what()};
  }
}

}  // namespace flashmoe::server

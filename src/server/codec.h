// What every API's codec does: an answer in its own form, whole or as a stream of events. Owns the
// state of one answer's encoding; knows no sockets.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "server/answer.h"
#include "server/api_error.h"
#include "server/json_fields.h"

namespace flashmoe::server {

// What answers say of themselves.
struct AnswerName {
  std::string model;
  std::string id;         // without an API's prefix
  int64_t created_s = 0;  // Unix time
};

class AnswerEncoder {
 public:
  virtual ~AnswerEncoder() = default;

  virtual Json whole(const Answer& answer) = 0;

  // Texts of server-sent events; empty where there is nothing to say.
  virtual std::string begin(int64_t prompt_tokens) = 0;
  virtual std::string event(const Event& event) = 0;
  virtual std::string end(const Answer& answer) = 0;
  // What readers overlook, to show that the server is still there.
  virtual std::string filler() const { return ": waiting\n\n"; }
  virtual std::string error(const ApiError& error) = 0;

  // The body of a response that is an error.
  virtual Json error_body(const ApiError& error) = 0;
};

// "3f2a…", 24 hexadecimal digits, different each time.
std::string random_id();

}  // namespace flashmoe::server

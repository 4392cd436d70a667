// What a client wants generated, in our own terms: what all the APIs' requests become. Owns only
// data; the codecs fill it in, the generator carries it out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "server/json_fields.h"
#include "text/thinking.h"

namespace flashmoe::server {

// Absent fields are as the model's makers set them.
struct Sampling {
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty,
      frequency_penalty;
  std::optional<int64_t> top_k;
  std::optional<uint64_t> seed;
  std::vector<std::pair<int32_t, float>> logit_bias;  // by token
};

struct ToolChoice {
  enum Kind { kAuto, kNone, kRequired, kNamed } kind = kAuto;
  std::string name;                  // kNamed: the function
  std::vector<std::string> allowed;  // kAuto, kRequired: the functions; none: all
  bool parallel = true;              // several calls in one answer
};

// What the answer must look like.
struct AnswerFormat {
  enum Kind { kText, kJsonObject, kJsonSchema, kGrammar } kind = kText;
  Json schema;          // kJsonSchema
  std::string grammar;  // kGrammar
};

using text::Thinking;

// A conversation in the terms of chat templates: messages have role, content (a string) and perhaps
// reasoning_content, tool_calls [{id, type, function: {name, arguments}}], tool_call_id. Arguments
// are a string, the model's own text, or an object where the API has lost that text.
struct Chat {
  Json messages = Json::array();
  Json tools = Json::array();  // [{type, function: {name, description, parameters, strict}}]
  Json template_variables = Json::object();
  ToolChoice tool_choice;
  Thinking thinking;
  std::string prefill;  // how the answer begins; not said again
};

// Texts or tokens to go on with, without a chat template.
struct PlainPrompts {
  std::vector<std::variant<std::string, std::vector<int32_t>>> prompts;
  bool parse_special = true;
  bool logprobs = false;  // tell those of its tokens as well, as Request::logprobs says
};

struct Request {
  std::variant<Chat, PlainPrompts> prompt;
  Sampling sampling;
  AnswerFormat format;
  std::vector<std::string> stop;
  int64_t max_tokens = -1;  // -1: as many as fit
  int choices = 1;          // for each prompt
  int logprobs = -1;        // alternatives told beside each token; -1: nothing
  bool stream = false;
};

}  // namespace flashmoe::server

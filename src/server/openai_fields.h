// What OpenAI's APIs have in common: sampling fields, content parts, tools, formats, errors, usage.
// Pure functions from and to JSON.
#pragma once

#include <string>
#include <string_view>

#include "server/answer.h"
#include "server/api_error.h"
#include "server/request.h"

namespace flashmoe::server {

// temperature, top_p, seed, penalties, logit_bias; and, as other servers have them, top_k, min_p,
// repetition_penalty.
Sampling read_sampling(const Fields& fields);

// `stop`: at most 16 strings, not empty.
std::vector<std::string> read_stop(const Fields& fields, const char* name);

// The text of a message's content: a string or parts of the given types joined by line breaks.
// Anything but text is refused.
std::string read_text_content(const Json& content, const std::string& path);

// A JSON schema format's object: {"schema": …}.
AnswerFormat read_schema_format(const Fields& fields);

// `grammar`, or else `response_format`: text, json_object or json_schema.
AnswerFormat read_response_format(const Fields& fields);

// {type: "function", function: {name, description, parameters, strict}} of a tool's fields.
Json function_tool(const Fields& tool, const char* parameters = "parameters");

// "none", "minimal", "low", "medium", "high", "xhigh".
Thinking read_effort(const std::string& effort, const std::string& path);

// thinking_budget: the most tokens of reasoning; 0 switches it off.
void read_thinking_budget(const Fields& fields, Chat* chat);

// {mode: auto | required, tools: [{name}]}; `nested` names the object in which a tool has its name,
// if that is not the tool itself.
void read_allowed_tools(const Fields& fields, const char* nested, ToolChoice* choice);

// chat_template_kwargs: more variables for the template. `enable_thinking` among them is the
// switch; what the conversation itself consists of cannot be put there.
void read_template_variables(const Fields& fields, Chat* chat);

// Adds a message; leading system messages become one.
void add_message(Json* messages, Json message);

// {"error": {"message", "type", "param", "code"}}
Json openai_error(const ApiError& error);

// "stop", "length", "tool_calls"
const char* openai_finish(Finish finish);

// {"token", "logprob", "bytes", "top_logprobs"} for each.
Json openai_logprobs(const std::vector<TokenLogprobs>& logprobs);

}  // namespace flashmoe::server

// The grammar of answers that may or must call tools. Owns no state: the answer is held to it by a
// GrammarConstraint, and read by a ToolParser.
#pragma once

#include <string>
#include <vector>

#include "text/grammar/grammar.h"
#include "text/tool_format.h"

namespace flashmoe::text {

struct ToolChoice {
  enum Kind {
    kAuto,      // any text, in which what begins as a call is one
    kRequired,  // a call, and nothing else
    kNamed,     // a call of `name`, and nothing else
  };
  Kind kind = kAuto;
  std::string name = {};
  bool parallel = true;  // several calls; never with kNamed
  // kAuto: the schema of an answer that calls nothing, which is then JSON; null: it is any text.
  nlohmann::ordered_json answer_schema = nullptr;
};

// Arguments match the tool's schema; of a tool that is not strict, whose schema has keywords that
// no grammar is made for, they are any JSON object. Throws Error kUsage for a strict tool with such
// a schema, when there is no tool (of that name), and for kNone.
Grammar tool_grammar(ToolFormat format, const std::vector<Tool>& tools, const ToolChoice& choice);

}  // namespace flashmoe::text

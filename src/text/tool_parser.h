// Finds tool calls in an answer while it is written. Text comes in pieces; out come the text around
// the calls and the calls themselves, their arguments in pieces of JSON. Nothing is lost: what
// looks like a call and is none is text. Owns what is not decided yet.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/json_scanner.h"
#include "text/tool_format.h"

namespace flashmoe::text {

struct ToolEvent {
  enum Kind {
    kContent,    // text
    kCallBegin,  // text: the name of the function
    // text: a piece of the arguments; joined they are a JSON object. In the JSON form they are the
    // model's own bytes; fed back as a string they render to the same bytes.
    kArguments,
    // text: a JSON object of the arguments as the model spelled them, each a string. Only in the
    // XML form, whose templates print strings as they are; other values, as Python would.
    kSpelledArguments,
    kCallEnd,     // text: the call as the model wrote it, from <tool_call> to </tool_call>
    kCallBroken,  // text: likewise, up to where it ceased to be a call or the answer was cut off
  };
  Kind kind;
  std::string text;
  int index = -1;  // of the call, from 0
};

class ToolParser {
 public:
  // `tools` give XML arguments their types; they must outlive the parser. With whole_calls, the
  // events of a call come when it ends, and a broken call is content, not kCallBroken: for answers
  // that are not streamed, or not held to a grammar.
  ToolParser(ToolFormat format, const std::vector<Tool>& tools, bool whole_calls)
      : format_(format), tools_(&tools), whole_calls_(whole_calls) {}

  // What is certain now. White space around calls is dropped.
  std::vector<ToolEvent> push(std::string_view text);
  // The rest: the answer has ended.
  std::vector<ToolEvent> finish();
  // Calls begun so far, without those that became content.
  int calls() const { return calls_; }

 private:
  enum State {
    kText,
    // JSON form
    kBrace,     // '{' comes
    kKey,       // '"' comes
    kKeyText,   // in a key
    kColon,     // ':' comes
    kName,      // '"' comes
    kNameText,  // in the name
    kArgs,      // '{' comes
    kArgsText,  // in the arguments
    kComma,     // ',' or '}' comes
    // XML form
    kFunction,   // <function=NAME> comes
    kParameter,  // <parameter=NAME> or </function> comes
    kValueHead,  // perhaps a newline before the value comes
    kValue,
    // both
    kClose,  // </tool_call> comes
  };

  bool step(bool is_last);
  bool step_text(bool is_last);
  bool step_json();
  bool step_xml();
  bool step_value();
  bool step_close(bool is_last);
  void open_call();
  void end_call();
  void break_call();
  void begin(std::string name);
  void arguments(std::string text);
  void content(std::string text);
  void emit(ToolEvent event);
  void consume(size_t bytes);
  bool skip_space();
  void begin_value(const std::string& name);
  void end_value();

  ToolFormat format_;
  const std::vector<Tool>* tools_;
  bool whole_calls_;
  State state_ = kText;
  std::string pending_;  // text that is not decided yet; in a call, what is not yet in raw_
  std::vector<ToolEvent> events_;
  int calls_ = 0;
  bool after_call_ = false;  // only white space since a call

  // The call underway.
  std::string before_call_;  // white space
  std::string raw_;
  std::vector<ToolEvent> held_;  // its events, with whole_calls_
  bool begun_ = false;           // kCallBegin is out
  std::string token_;            // the key, name or value being read
  std::string key_;
  std::string early_arguments_;  // that came before the name
  bool has_arguments_ = false;
  JsonScanner scanner_;
  const Tool* tool_ = nullptr;
  JsonTypes types_;                 // of the value being read
  std::string value_name_;          // its name
  nlohmann::ordered_json spelled_;  // the values so far, by name
};

}  // namespace flashmoe::text

// Turns the tokens of one choice into events: whole characters, reasoning apart from the answer,
// stop strings cut off, tool calls found. Owns what is not decided yet.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/answer.h"
#include "server/answer.h"
#include "server/stop_strings.h"
#include "text/reasoning.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"
#include "text/tool_parser.h"

namespace flashmoe::server {

// How the answers of one request are read.
struct ReadingRules {
  // The tokens around the reasoning that an answer may begin with; -1: there is none.
  int32_t think_open = -1, think_close = -1;
  // The prompt has opened the section.
  bool starts_inside = false;
  text::ToolFormat tool_format = text::ToolFormat::kNone;  // kNone: calls are text
  std::vector<text::Tool> tools;
  bool whole_calls = false;  // ToolParser's
  std::vector<std::string> stop;
  bool logprobs = false;
  bool stop_logprobs = false;  // of the token that ended the answer, too
};

// A call as the model wrote it.
struct WrittenCall {
  std::string id;
  std::string arguments;  // as they are told: a JSON object, unless the call broke off
  std::string spelled;    // ToolEvent::kSpelledArguments; empty in the JSON form
};

class AnswerReader {
 public:
  // `tokenizer` and `rules` must outlive the reader.
  AnswerReader(const text::Tokenizer& tokenizer, const ReadingRules& rules, int choice);

  // Of tokens before the answer: no text, only what is known of them.
  Event prompt(std::span<const engine::TokenEvent> tokens, bool known) const;
  // What is certain now. No more may be pushed when a stop string was found.
  std::vector<Event> push(const engine::TokenEvent& token);
  // The rest, with the event that ends the choice. `stop`: the token that ended it, if that is
  // known.
  std::vector<Event> finish(engine::FinishReason reason,
                            const std::optional<engine::TokenEvent>& stop = std::nullopt);

  bool stopped() const { return stops_.found(); }
  const std::vector<WrittenCall>& calls() const { return calls_; }  // so far
  int64_t tokens() const { return tokens_; }
  int64_t reasoning_tokens() const { return reasoning_tokens_; }

 private:
  struct PendingLogprobs {
    size_t begin;  // of the token, in the answer's text
    TokenLogprobs logprobs;
  };

  void read(int32_t token);
  void take(const std::vector<text::ReasoningSplitter::Piece>& pieces);
  void say(const std::string& text);   // of the answer, before stop strings
  void tell(const std::string& text);  // after
  void take(std::vector<text::ToolEvent> events);
  void add_content(std::string text);
  TokenLogprobs logprobs_of(const engine::TokenEvent& token) const;
  void emit(Event event);

  const text::Tokenizer& tokenizer_;
  const ReadingRules& rules_;
  const int choice_;
  text::StreamDecoder decoder_;
  std::optional<text::ReasoningSplitter> splitter_;
  StopStrings stops_;
  std::optional<text::ToolParser> parser_;
  std::vector<Event> events_;
  int64_t tokens_ = 0, reasoning_tokens_ = 0;
  size_t said_bytes_ = 0, told_bytes_ = 0;
  std::deque<PendingLogprobs> logprobs_;
  std::vector<WrittenCall> calls_;
};

}  // namespace flashmoe::server

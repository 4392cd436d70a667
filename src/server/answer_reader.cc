#include "server/answer_reader.h"

#include <utility>

#include "server/codec.h"

namespace flashmoe::server {

AnswerReader::AnswerReader(const text::Tokenizer& tokenizer, const ReadingRules& rules, int choice)
    : tokenizer_(tokenizer),
      rules_(rules),
      choice_(choice),
      decoder_(tokenizer, true),
      stops_(rules.stop) {
  if (rules.think_open >= 0) splitter_.emplace(rules.starts_inside);
  if (rules.tool_format != text::ToolFormat::kNone) {
    parser_.emplace(rules.tool_format, rules.tools, rules.whole_calls);
  }
}

Event AnswerReader::prompt(std::span<const engine::TokenEvent> tokens, bool known) const {
  Event event = {Event::kText, choice_};
  for (const engine::TokenEvent& token : tokens) {
    event.logprobs.push_back(logprobs_of(token));
    event.logprobs.back().known = known;
  }
  return event;
}

std::vector<Event> AnswerReader::push(const engine::TokenEvent& token) {
  ++tokens_;
  const bool was_inside = splitter_ && splitter_->inside();
  if (rules_.logprobs) logprobs_.push_back({said_bytes_, logprobs_of(token)});
  read(token.token);
  if (splitter_ && (was_inside || splitter_->inside())) ++reasoning_tokens_;
  // What is none of the answer: reasoning, its markers, and the newlines behind it.
  if (splitter_ && (splitter_->inside() || splitter_->before_answer())) logprobs_.clear();
  return std::exchange(events_, {});
}

std::vector<Event> AnswerReader::finish(engine::FinishReason reason,
                                        const std::optional<engine::TokenEvent>& stop) {
  if (stop && rules_.stop_logprobs) logprobs_.push_back({said_bytes_, logprobs_of(*stop)});
  if (!stopped()) {
    const std::string rest = decoder_.finish();
    if (splitter_) {
      take(splitter_->push(rest));
      take(splitter_->finish());
    } else {
      say(rest);
    }
    tell(stops_.finish());
  }
  if (parser_) take(parser_->finish());
  if (!stopped() && !logprobs_.empty()) {
    told_bytes_ = said_bytes_ + 1;
    add_content("");
  }
  Event end = {Event::kEnd};
  end.finish = reason == engine::FinishReason::kLength && !stopped() ? Finish::kLength
               : !calls_.empty()                                     ? Finish::kToolCall
                                                                     : Finish::kStop;
  end.stop_string = stops_.found() ? stops_.which() : "";
  emit(std::move(end));
  return std::exchange(events_, {});
}

void AnswerReader::read(int32_t token) {
  if (!splitter_) {
    say(decoder_.push(token));
  } else if (token == rules_.think_open && splitter_->may_open()) {
    splitter_->open();
  } else if (token == rules_.think_close && splitter_->inside()) {
    take(splitter_->push(decoder_.finish()));  // a character may have been cut off
    splitter_->close();
  } else {
    take(splitter_->push(decoder_.push(token)));
  }
}

void AnswerReader::take(const std::vector<text::ReasoningSplitter::Piece>& pieces) {
  for (const auto& piece : pieces) {
    if (piece.is_reasoning) {
      emit({Event::kReasoning, 0, piece.text});
    } else {
      say(piece.text);
    }
  }
}

void AnswerReader::say(const std::string& text) {
  said_bytes_ += text.size();
  tell(stops_.push(text));
}

void AnswerReader::tell(const std::string& text) {
  if (text.empty()) return;
  told_bytes_ += text.size();
  if (parser_) {
    take(parser_->push(text));
  } else {
    add_content(text);
  }
}

void AnswerReader::take(std::vector<text::ToolEvent> events) {
  for (text::ToolEvent& event : events) {
    switch (event.kind) {
      case text::ToolEvent::kContent:
        add_content(std::move(event.text));
        break;
      case text::ToolEvent::kCallBegin: {
        Event call = {Event::kToolCall, 0, std::move(event.text), event.index};
        call.id = random_id();
        calls_.push_back({call.id, "", ""});
        emit(std::move(call));
        break;
      }
      case text::ToolEvent::kArguments:
        calls_.back().arguments += event.text;
        emit({Event::kToolArguments, 0, std::move(event.text), event.index});
        break;
      case text::ToolEvent::kSpelledArguments:
        calls_.back().spelled = std::move(event.text);
        break;
      case text::ToolEvent::kCallEnd:
      case text::ToolEvent::kCallBroken:
        break;
    }
  }
}

void AnswerReader::add_content(std::string text) {
  Event event = {Event::kText, 0, std::move(text)};
  while (!logprobs_.empty() && logprobs_.front().begin < told_bytes_) {
    event.logprobs.push_back(std::move(logprobs_.front().logprobs));
    logprobs_.pop_front();
  }
  emit(std::move(event));
}

TokenLogprobs AnswerReader::logprobs_of(const engine::TokenEvent& token) const {
  const auto one = [this](int32_t id, float logprob) {
    return Logprob{std::string(tokenizer_.token_bytes(id)), id, logprob};
  };
  TokenLogprobs out = {one(token.token, token.logprob), {}};
  for (const engine::TokenLogprob& top : token.top) out.top.push_back(one(top.token, top.logprob));
  return out;
}

void AnswerReader::emit(Event event) {
  event.choice = choice_;
  events_.push_back(std::move(event));
}

}  // namespace flashmoe::server

#include "server/answer.h"

#include "base/check.h"

namespace flashmoe::server {

void Answer::add(const Event& event) {
  if (choices.size() <= static_cast<size_t>(event.choice)) {
    choices.resize(static_cast<size_t>(event.choice) + 1);
  }
  Choice& choice = choices[static_cast<size_t>(event.choice)];
  switch (event.kind) {
    case Event::kReasoning:
      choice.reasoning += event.text;
      break;
    case Event::kText:
      choice.text += event.text;
      choice.logprobs.insert(choice.logprobs.end(), event.logprobs.begin(), event.logprobs.end());
      break;
    case Event::kToolCall:
      choice.calls.push_back({event.id, event.text, ""});
      break;
    case Event::kToolArguments:
      CHECK(!choice.calls.empty());
      choice.calls.back().arguments += event.text;
      break;
    case Event::kEnd:
      choice.finish = event.finish;
      choice.stop_string = event.stop_string;
      break;
  }
}

}  // namespace flashmoe::server

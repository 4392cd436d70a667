// Bodies of requests from anywhere: each API's codec reads them or refuses them with status 400,
// and what it read can be answered. The first byte picks the API.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "server/anthropic.h"
#include "server/openai_chat.h"
#include "server/openai_completions.h"
#include "server/openai_responses.h"
#include "server/tokenization.h"

namespace {

using namespace flashmoe::server;

void check(bool condition) {
  if (!condition) std::abort();
}

// An answer of one choice with all that there is.
void answer(AnswerEncoder& encoder) {
  Answer whole;
  const auto say = [&](const Event& event) {
    whole.add(event);
    encoder.event(event);
  };
  encoder.begin(3);
  say({Event::kReasoning, 0, "hm"});
  say({Event::kText, 0, "h\xc3\xa9", -1, "", {{{"h", 1, -1.f}, {}}}});
  say({Event::kToolCall, 0, "f", 0, "1"});
  say({Event::kToolArguments, 0, "{}", 0});
  say({Event::kEnd});
  encoder.end(whole);
}

void read(uint8_t which, const Json& body) {
  const AnswerName name = {"m", "id", 0};
  switch (which % 6) {
    case 0:
      answer(*chat_completion_encoder(read_chat_completion(body), name));
      break;
    case 1: {
      const CompletionRequest request = read_completion(body);
      const size_t prompts = std::get<PlainPrompts>(request.request.prompt).prompts.size();
      answer(*completion_encoder(request, std::vector<std::string>(prompts, "p"), name));
      break;
    }
    case 2:
      answer(*responses_encoder(read_responses(body), name));
      break;
    case 3:
      read_messages(body);
      answer(*messages_encoder(name));
      break;
    case 4:
      read_tokenize(body);
      break;
    default:
      read_detokenize(body, 100);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  try {
    read(data[0], parse_object({reinterpret_cast<const char*>(data) + 1, size - 1}));
  } catch (const ApiError& error) {
    check(error.status() == 400);
  }
  return 0;
}

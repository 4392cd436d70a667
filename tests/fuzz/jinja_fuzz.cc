// Templates from anywhere: parsing and rendering end, within bounds, in text or in an Error. The
// marks of the output are in order and cut no character.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "text/chat_template.h"

namespace {

const nlohmann::ordered_json& variables() {
  static const auto* const kVariables = new auto(nlohmann::ordered_json::parse(R"({
    "messages": [
      {"role": "system", "content": "Be <b>brief</b>."},
      {"role": "user", "content": [{"type": "text", "text": "h\u00e9 \ud83d\ude00"}, {"type": "image"}]},
      {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
        {"id": "x", "function": {"name": "f", "arguments": {"a": [1, 2.5, true, null, "q"], "b": {}}}}]},
      {"role": "tool", "content": "42"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "add_generation_prompt": true, "bos_token": "<s>", "s": "a,b c\n", "n": -3, "f": 0.5})"));
  return *kVariables;
}

void check(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  flashmoe::text::RenderOptions options;
  options.trusted = {"bos_token"};
  options.now = [] { return std::tm{}; };
  options.limits.work = 1 << 20;
  try {
    const std::string source(reinterpret_cast<const char*>(data), size);
    const auto chat = flashmoe::text::ChatTemplate::parse(source, "fuzz");
    const auto out = chat.render(variables(), options);
    size_t end = 0;
    for (const auto& range : out.from_template) {
      check(range.begin >= end && range.end > range.begin && range.end <= out.text.size());
      check((static_cast<unsigned char>(out.text[range.begin]) & 0xc0) != 0x80);
      end = range.end;
    }
  } catch (const flashmoe::Error&) {
  }
  return 0;
}

// Schemas from anywhere: an Error, or a grammar whose random answers are whole and are JSON.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "tests/fuzz/random_walk.h"
#include "text/json_schema.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto schema = nlohmann::ordered_json::parse(data, data + size, nullptr, false);
  if (schema.is_discarded()) return 0;
  try {
    const std::string text =
        flashmoe::text::random_walk(flashmoe::text::json_schema_grammar(schema), size);
    if (nlohmann::ordered_json::parse(text, nullptr, false).is_discarded()) std::abort();
  } catch (const flashmoe::Error&) {
  }
  return 0;
}

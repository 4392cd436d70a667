// Grammars from anywhere: parsing and compiling end, in a grammar or in an Error, and a walk by
// random tokens from it is whole within its limit.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/error.h"
#include "tests/fuzz/random_walk.h"
#include "text/grammar/gbnf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const std::string_view source(reinterpret_cast<const char*>(data), size);
    flashmoe::text::random_walk(flashmoe::text::parse_gbnf(source, "fuzz"), size);
  } catch (const flashmoe::Error&) {
  }
  return 0;
}

// JSON Schema to grammars. Owns the translation; docs/grammar.md lists the keywords.
//
// Every text of the grammar is valid under the schema; not every valid text is in the grammar: keys
// come in the schema's order, there is at most one space after ':' and ',', and properties that the
// schema does not name come only if it says additionalProperties.
#pragma once

#include <nlohmann/json.hpp>

#include "text/grammar/grammar.h"

namespace flashmoe::text {

// Throws Error kUsage naming the path of a keyword that cannot be honoured. Whether the schema has
// a finite value at all shows when the grammar is compiled.
Grammar json_schema_grammar(const nlohmann::ordered_json& schema);

// Any JSON object.
Grammar json_object_grammar();

}  // namespace flashmoe::text

#include "text/json_schema.h"

#include "text/schema/builder.h"

namespace flashmoe::text {

Grammar json_schema_grammar(const nlohmann::ordered_json& schema) {
  Grammar grammar;
  const Grammar::Rule root = grammar.add_rule("$");
  schema::SchemaBuilder builder(schema, &grammar);
  grammar.define(root, builder.value(schema, "$"));
  grammar.set_root(root);
  return grammar;
}

Grammar json_object_grammar() {
  Grammar grammar;
  const Grammar::Rule root = grammar.add_rule("$");
  schema::SchemaBuilder builder(nlohmann::ordered_json::object(), &grammar);
  grammar.define(root, builder.any_object());
  grammar.set_root(root);
  return grammar;
}

}  // namespace flashmoe::text

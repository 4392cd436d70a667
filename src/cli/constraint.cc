#include "cli/constraint.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/locate.h"
#include "text/grammar/gbnf.h"
#include "text/grammar_constraint.h"
#include "text/json_message.h"
#include "text/json_schema.h"

namespace flashmoe::cli {

namespace {

text::Grammar schema_grammar(const std::string& path) {
  const std::string schema = read_text(path, "JSON schema");
  try {
    return text::json_schema_grammar(nlohmann::ordered_json::parse(schema));
  } catch (const nlohmann::json::exception& error) {
    throw_error(ErrorCode::kUsage, "{}: {}", path, text::json_message(error));
  } catch (const Error& error) {
    throw_error(error.code(), "{}: {}", path, error.what());
  }
}

}  // namespace

std::unique_ptr<text::TokenConstraint> make_constraint(const std::string& grammar,
                                                       const std::string& json_schema,
                                                       const text::Tokenizer& tokenizer) {
  if (grammar.empty() && json_schema.empty()) return nullptr;
  const text::Grammar rules = grammar.empty()
                                  ? schema_grammar(json_schema)
                                  : text::parse_gbnf(read_text(grammar, "grammar"), grammar);
  return std::make_unique<text::GrammarConstraint>(std::make_shared<text::CompiledGrammar>(
      rules, std::make_shared<text::GrammarVocabulary>(tokenizer)));
}

}  // namespace flashmoe::cli

#include "server/grammars.h"

#include <algorithm>

#include "text/grammar/gbnf.h"
#include "text/json_schema.h"
#include "text/tool_grammar.h"

namespace flashmoe::server {

template <typename Make>
std::shared_ptr<const text::CompiledGrammar> Grammars::find_or_make(const std::string& key,
                                                                    Make&& make) {
  std::shared_ptr<const text::GrammarVocabulary> vocabulary;
  {
    const std::lock_guard lock(mutex_);
    const auto at = std::ranges::find(entries_, key, &Entry::key);
    if (at != entries_.end()) {
      entries_.splice(entries_.begin(), entries_, at);
      return at->grammar;
    }
    if (!vocabulary_) vocabulary_ = std::make_shared<text::GrammarVocabulary>(tokenizer_);
    vocabulary = vocabulary_;
  }
  auto grammar = std::make_shared<const text::CompiledGrammar>(make(), std::move(vocabulary));
  const std::lock_guard lock(mutex_);
  entries_.push_front({key, grammar});
  if (entries_.size() > kMost) entries_.pop_back();
  return grammar;
}

std::shared_ptr<const text::CompiledGrammar> Grammars::of_format(const AnswerFormat& format) {
  switch (format.kind) {
    case AnswerFormat::kText:
      break;
    case AnswerFormat::kJsonObject:
      return find_or_make("object", [] { return text::json_object_grammar(); });
    case AnswerFormat::kJsonSchema:
      return find_or_make("schema " + dump(format.schema),
                          [&] { return text::json_schema_grammar(format.schema); });
    case AnswerFormat::kGrammar:
      return find_or_make("gbnf " + format.grammar,
                          [&] { return text::parse_gbnf(format.grammar, "grammar"); });
  }
  return nullptr;
}

std::shared_ptr<const text::CompiledGrammar> Grammars::of_tools(
    text::ToolFormat tool_format, const std::vector<text::Tool>& tools, const ToolChoice& choice,
    const AnswerFormat& format) {
  text::ToolChoice wanted;
  wanted.kind = choice.kind == ToolChoice::kRequired ? text::ToolChoice::kRequired
                : choice.kind == ToolChoice::kNamed  ? text::ToolChoice::kNamed
                                                     : text::ToolChoice::kAuto;
  wanted.name = choice.name;
  wanted.parallel = choice.parallel;
  if (format.kind == AnswerFormat::kJsonObject) wanted.answer_schema = {{"type", "object"}};
  if (format.kind == AnswerFormat::kJsonSchema) wanted.answer_schema = format.schema;
  std::string key = fmt::format("tools {} {} {} {}", static_cast<int>(wanted.kind), wanted.name,
                                wanted.parallel, dump(wanted.answer_schema));
  for (const text::Tool& tool : tools) {
    key += fmt::format("\n{} {} {}", tool.name, tool.strict, dump(tool.parameters));
  }
  return find_or_make(key, [&] { return text::tool_grammar(tool_format, tools, wanted); });
}

}  // namespace flashmoe::server

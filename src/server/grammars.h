// The grammars that answers are held to, compiled once for each schema or set of tools. Owns the
// compiled ones, the most recently used; what a grammar means is text/'s matter.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/request.h"
#include "text/grammar/compiled_grammar.h"
#include "text/token_constraint.h"
#include "text/tokenizer.h"
#include "text/tool_format.h"

namespace flashmoe::server {

class Grammars {
 public:
  // The tokenizer must outlive this.
  explicit Grammars(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // Throws Error kUsage when there can be no such answer.
  std::shared_ptr<const text::CompiledGrammar> of_format(const AnswerFormat& format);
  // `format` is that of an answer that calls nothing; it is no kGrammar.
  std::shared_ptr<const text::CompiledGrammar> of_tools(text::ToolFormat tool_format,
                                                        const std::vector<text::Tool>& tools,
                                                        const ToolChoice& choice,
                                                        const AnswerFormat& format);

 private:
  static constexpr size_t kMost = 64;
  struct Entry {
    std::string key;
    std::shared_ptr<const text::CompiledGrammar> grammar;
  };
  template <typename Make>
  std::shared_ptr<const text::CompiledGrammar> find_or_make(const std::string& key, Make&& make);

  const text::Tokenizer& tokenizer_;
  std::mutex mutex_;
  std::shared_ptr<const text::GrammarVocabulary> vocabulary_;  // made when first needed
  std::list<Entry> entries_;                                   // the most recently used first
};

}  // namespace flashmoe::server

// The shortest way from every node of an automaton to the end of its rule.
#pragma once

#include "text/grammar/automaton.h"

namespace flashmoe::text::grammar {

// Fills in bytes_to_end, tokens_to_end and Run::longest.
void find_completions(const GrammarVocabulary& vocabulary, Automaton* automaton);

}  // namespace flashmoe::text::grammar

// What --grammar and --json-schema hold an answer to.
#pragma once

#include <memory>
#include <string>

#include "text/token_constraint.h"
#include "text/tokenizer.h"

namespace flashmoe::cli {

// From the files at these paths, "" for none; null if neither is given. The tokenizer must outlive
// it. Throws Error for what cannot be read or honoured.
std::unique_ptr<text::TokenConstraint> make_constraint(const std::string& grammar,
                                                       const std::string& json_schema,
                                                       const text::Tokenizer& tokenizer);

}  // namespace flashmoe::cli

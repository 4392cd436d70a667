// flashmoe tokenize: text to ids and back.
#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/locate.h"
#include "engine/text_model.h"
#include "format/json_file.h"
#include "text/tokenizer.h"

namespace flashmoe::cli {

namespace {

std::vector<int32_t> parse_ids(const std::string& input) {
  const nlohmann::json json = nlohmann::json::parse(input, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) {
    throw Error(ErrorCode::kCorrupt, "standard input is no JSON array of token ids");
  }
  constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
  std::vector<int32_t> ids;
  for (const nlohmann::json& item : json) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > uint64_t{kMax}) {
      throw_error(ErrorCode::kCorrupt,
                  "standard input: element {} of the array is {}, but a token id is a whole number "
                  "from 0 to {}",
                  ids.size(), format::brief(item), kMax);
    }
    ids.push_back(item.get<int32_t>());
  }
  return ids;
}

}  // namespace

int tokenize(const TokenizeOptions& o) {
  const text::Tokenizer tokenizer = o.model.ends_with(".json")
                                        ? text::Tokenizer::from_file(o.model)
                                        : engine::read_tokenizer(model_folder(o.model));
  const std::string input = read_text("-", "text");
  std::string output;
  if (o.decode) {
    output = tokenizer.decode(parse_ids(input), false);
  } else {
    output = nlohmann::json(tokenizer.encode(input, o.parse_special)).dump() + "\n";
  }
  std::fwrite(output.data(), 1, output.size(), stdout);
  return 0;
}

}  // namespace flashmoe::cli

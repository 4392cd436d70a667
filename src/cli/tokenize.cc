// flashmoe tokenize: text to ids and back.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/locate.h"
#include "text/tokenizer.h"

namespace flashmoe::cli {

int tokenize(const TokenizeOptions& o) {
  const std::string path =
      o.model.ends_with(".json") ? o.model : model_folder(o.model) + "/tokenizer.json";
  const text::Tokenizer tokenizer = text::Tokenizer::from_file(path);
  const std::string input = read_text("-", "text");
  std::string output;
  if (o.decode) {
    std::vector<int32_t> ids;
    try {
      ids = nlohmann::json::parse(input).get<std::vector<int32_t>>();
    } catch (const nlohmann::json::exception&) {
      throw Error(ErrorCode::kUsage, "standard input is no JSON array of token ids");
    }
    output = tokenizer.decode(ids, false);
  } else {
    output = nlohmann::json(tokenizer.encode(input, o.parse_special)).dump() + "\n";
  }
  std::fwrite(output.data(), 1, output.size(), stdout);
  return 0;
}

}  // namespace flashmoe::cli

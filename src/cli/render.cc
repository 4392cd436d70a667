// flashmoe render: what a chat template makes of any variables.
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/locate.h"
#include "engine/text_model.h"
#include "text/chat_template.h"
#include "text/json_message.h"

namespace flashmoe::cli {

int render(const RenderOptions& o) {
  nlohmann::ordered_json variables;
  try {
    variables = nlohmann::ordered_json::parse(read_text(o.context, "variables"));
  } catch (const nlohmann::json::exception& error) {
    throw_error(ErrorCode::kCorrupt, "{}: not valid JSON: {}", o.context,
                text::json_message(error));
  }
  if (!variables.is_object()) {
    throw_error(ErrorCode::kUsage, "{}: the variables must be a JSON object", o.context);
  }
  std::string output;
  if (o.model.ends_with(".jinja")) {
    output =
        text::ChatTemplate::parse(read_text(o.model, "template"), o.model).render(variables).text;
  } else {
    const std::string folder = model_folder(o.model);
    const auto source = engine::read_chat_template(folder, variables.contains("tools"));
    if (!source) throw_error(ErrorCode::kNotFound, "{}: there is no chat template", folder);
    output = source->render(variables).text;
  }
  std::fwrite(output.data(), 1, output.size(), stdout);
  return 0;
}

}  // namespace flashmoe::cli

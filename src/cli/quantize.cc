// flashmoe quantize: a model in fewer bits.
#include "convert/quantize.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/stop_signal.h"
#include "cli/commands.h"
#include "cli/locate.h"
#include "convert/recipe.h"

namespace flashmoe::cli {

int quantize(const QuantizeCommandOptions& o) {
  if (o.print_recipe) {
    fmt::print("{}", convert::recipe_text(o.recipe, o.bits.value_or(0)));
    return 0;
  }
  if (o.source.empty() || o.destination.empty()) {
    throw Error(ErrorCode::kUsage, "give the model to read, SRC, and the folder to write, OUT");
  }
  install_stop_signal();
  convert::QuantizeOptions options;
  options.bits = o.bits;
  options.group = o.group;
  options.threads = o.threads;
  options.recipe = o.recipe;
  options.importance = o.importance;
  convert::quantize(model_folder(o.source), o.destination, options);
  return 0;
}

}  // namespace flashmoe::cli

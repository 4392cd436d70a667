// flashmoe quantize: a model in fewer bits.
#include "convert/quantize.h"

#include "base/stop_signal.h"
#include "cli/commands.h"
#include "cli/locate.h"

namespace flashmoe::cli {

int quantize(const QuantizeCommandOptions& o) {
  install_stop_signal();
  convert::QuantizeOptions options;
  options.bits = o.bits;
  options.group = o.group;
  options.threads = o.threads;
  convert::quantize(model_folder(o.source), o.destination, options);
  return 0;
}

}  // namespace flashmoe::cli

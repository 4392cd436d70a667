// flashmoe synth: a model of a published shape with random weights.
#include "convert/synth.h"

#include "base/stop_signal.h"
#include "cli/commands.h"

namespace flashmoe::cli {

int synth(const SynthCommandOptions& o) {
  install_stop_signal();
  convert::SynthOptions options;
  options.bits = o.bits;
  options.layers = o.layers;
  options.seed = o.seed;
  convert::synth(o.model, o.destination, options);
  return 0;
}

}  // namespace flashmoe::cli

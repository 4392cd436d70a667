// A checkpoint made up from its shape: config.json and random weights, for measuring models of
// real size without downloading them. Owns the order of the work; shapes lie in synth_shapes.h,
// tensors in synth_tensors.h, numbers in synth_values.h.
#pragma once

#include <cstdint>
#include <string>

namespace flashmoe::convert {

struct SynthOptions {
  int bits = 16;      // of a weight: 16 (BF16), or 8, 6, 5, 4, 3, 2 in MLX's affine format
  int layers = 0;     // only the first ones; 0: all
  uint64_t seed = 0;  // equal seeds give equal files
};

// `model` is one of published_names() or the path of a config.json. Writes folder `destination`:
// with 16 bits as Hugging Face publishes such models, with fewer as mlx-lm does. What a tensor
// holds depends on its name, format and the seed alone, so fewer layers are the same layers.
// Needs two buffers of a few MiB and the list of the tensors.
//
// The destination appears whole or not at all; it must not be there before, or be an empty folder.
// Throws Error: kUsage for the destination and options, kIo with what is missing when the disk has
// no room, kCancelled after a stop signal, and those of parse_model_config.
void synth(const std::string& model, const std::string& destination, const SynthOptions& options);

}  // namespace flashmoe::convert

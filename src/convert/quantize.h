// Checkpoint to checkpoint: any readable model in fewer bits, in MLX's affine format. Owns the
// order of the work and what must be true before it starts; rounding lies in quant/encode.h, names
// and choices in mlx_tensors.h.
#pragma once

#include <string>

namespace flashmoe::convert {

struct QuantizeOptions {
  int bits = 4;     // of a weight: 2, 3, 4, 5, 6 or 8
  int group = 64;   // inputs that share a scale and a bias: 32, 64 or 128
  int threads = 0;  // 0: one for each CPU
};

// Reads the model in folder `source` and writes folder `destination`: weights and config.json with
// the bits that mlx-lm's conversion gives (codes spread from the smallest to the largest weight of
// each group; router and shared-expert gate 8-bit in groups of 64), tokenizer, chat template and
// the like as they are. Needs a few MiB per thread and room for the scales of one layer's stack.
//
// The destination appears whole or not at all; it must not be there before, or be an empty folder.
// Throws Error: kUsage for the destination and options, kUnsupported for a source that is quantised
// already, kIo with what is missing when the disk has no room, kCancelled after a stop signal.
void quantize(const std::string& source, const std::string& destination,
              const QuantizeOptions& options);

}  // namespace flashmoe::convert

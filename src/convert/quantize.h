// Checkpoint to checkpoint: any readable model in fewer bits, in MLX's affine format. Owns the
// order of the work and what must be true before it starts; rounding lies in quant/fit.h and
// quant/encode.h, names in mlx_tensors.h, the choice of formats in recipe.h.
#pragma once

#include <optional>
#include <string>

namespace flashmoe::convert {

struct QuantizeOptions {
  std::optional<int> bits;       // of a weight: 2, 3, 4, 5, 6 or 8; default: the recipe's, or 4
  std::optional<int> group;      // inputs that share a scale and a bias: 32, 64 or 128; or 64
  int threads = 0;               // 0: one for each CPU
  std::string recipe = "mixed";  // the name of a built-in one, or a file (convert/recipe.h)
  std::string importance{};      // path of a file from `flashmoe imatrix`; empty: none
};

// Reads the model at `source`, of any kind that runs, and writes folder `destination`: weights and
// config.json as the recipe says ("minmax": with the bits that mlx-lm's conversion gives),
// tokenizer, chat template and the like as they are, of GGUF as Hugging Face's files. Needs about
// 10 MiB per thread, room for the scales of one layer's stack and all of the importance file; with
// moments in it, twice their size of one matrix per thread; of sources that are not stored row by
// row (GPTQ, AWQ, compressed files), the matrices in work.
//
// The destination appears whole or not at all; it must not be there before, or be an empty folder.
// Of a source that is quantised already a warning is logged. Throws Error: kUsage for the
// destination and options, kIo with what is missing when the disk has no room, kCancelled after a
// stop signal.
void quantize(const std::string& source, const std::string& destination,
              const QuantizeOptions& options);

}  // namespace flashmoe::convert

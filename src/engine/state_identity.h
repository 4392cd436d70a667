// Whether a state computed by one engine means the same to another. Owns nothing.
#pragma once

#include "engine/digest.h"
#include "engine/engine_parts.h"

namespace flashmoe::engine {

// Of all that decides a state's bits: the model's configuration, its tensors and where they lie,
// the files' sizes and times, samples of what they hold, the arithmetic and the type of keys and
// values. Reads about a megabyte. Throws Error.
Digest state_identity(const Engine::Parts& parts);

}  // namespace flashmoe::engine

// A model as GGUF: one file, or the parts of a split one. Owns the choice of files and the checks
// between them; gguf_header.h checks each alone.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "format/checkpoint.h"

namespace flashmoe::format {

bool is_gguf(const std::string& path);  // by its extension; a folder is none

// The first part of the model that the file `path` belongs to, where the names are
// NAME-00001-of-00005.gguf; else `path`. It has the model's metadata.
std::string first_gguf_part(const std::string& path);

// Checkpoint::find_matrix for tensors of GGUF's types.
std::optional<MatrixInfo> resolve_gguf_matrix(const Checkpoint& checkpoint, std::string_view prefix,
                                              std::optional<int64_t> expected_cols);
// The metadata that a checkpoint needs: all but the lists of the tokenizer. Throws Error.
nlohmann::json read_gguf_metadata(const std::string& path);

// `path` may be any part. Checkpoint::config() is the metadata, as an object by key, without the
// lists of the tokenizer.
std::unique_ptr<Checkpoint> open_gguf(const std::string& path);

}  // namespace flashmoe::format

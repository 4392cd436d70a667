// A packed store as a checkpoint: store.json beside the files it lists. Owns the parsed manifest
// and the checks between it and the files.
#pragma once

#include <memory>
#include <string>

#include "format/checkpoint.h"
#include "format/store_manifest.h"

namespace flashmoe::format {

bool is_store(const std::string& folder);  // whether it has a manifest

// The manifest, checked against its own checksum. Throws Error kCorrupt.
StoreManifest read_store_manifest(const std::string& folder);

// Where the tokenizer and the like are: the folder, or the GGUF metadata in it.
std::string store_text_source(const std::string& folder);

std::unique_ptr<Checkpoint> open_store(const std::string& folder);

}  // namespace flashmoe::format

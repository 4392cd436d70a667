// A model in Hugging Face layout: config.json beside one or many *.safetensors files. Owns the
// choice of files and the checks between them; safetensors_header.h checks each alone.
#pragma once

#include <memory>
#include <string>

#include "format/checkpoint.h"

namespace flashmoe::format {

std::unique_ptr<Checkpoint> open_safetensors_folder(const std::string& folder);

}  // namespace flashmoe::format

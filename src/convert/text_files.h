// The text side of a model as Hugging Face's files, for sources that have it in another form: GGUF
// metadata, flash-moe's tokenizer.bin. Owns what stands in these files.
#pragma once

#include <map>
#include <string>

namespace flashmoe::convert {

// By file name; empty for a model that has files of its own. `model` is a folder or a GGUF file.
// Throws Error for text that this program cannot read either.
std::map<std::string, std::string> text_files(const std::string& model);

}  // namespace flashmoe::convert

// Which files beside a model's weights go along when it is written anew, and copying them. Owns the
// list of names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace flashmoe::convert {

// Tokenizer, chat template, generation settings, licence: sorted by name. Not config.json, whose
// content depends on the weights, nor the model card, which speaks of the source. None for a model
// that is a single file.
std::vector<std::filesystem::path> kept_files(const std::string& model);

// In bounded memory; the new file appears whole or not at all.
void copy_whole(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace flashmoe::convert

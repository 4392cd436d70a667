// Where a command's model lies. Owns nothing.
#pragma once

#include <string>

namespace flashmoe::cli {

// The folder of the model that a user named; the embedded model's when `model` is empty. Throws
// Error kNotFound.
std::string model_folder(const std::string& model);

// What to call that model: "org/name" as it was given, else the last part of its path.
std::string display_name(const std::string& model, const std::string& folder);

// Whether a lone argument names a model: an existing folder, or shaped like org/name.
bool names_model(const std::string& argument);

// All of a file, "-" for standard input. Throws Error kIo; `what` is for the message.
std::string read_text(const std::string& path, const char* what);

}  // namespace flashmoe::cli

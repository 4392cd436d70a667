// Opens files that others made, for headers and configuration, with clear messages about downloads
// that did not finish. Owns no file itself.
#pragma once

#include <cstdint>
#include <string>

#include "io/file.h"

namespace flashmoe::format {

// Throws Error kNotFound when there is no such file (also behind a symbolic link), kIo when it
// cannot be opened, kCorrupt when it is empty or a Git LFS pointer instead of the data.
io::File open_input(const std::string& path);

// `bytes` bytes at `offset`. Throws Error kIo.
std::string read_text(const io::File& file, uint64_t offset, uint64_t bytes);

}  // namespace flashmoe::format

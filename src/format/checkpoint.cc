#include "format/checkpoint.h"

#include "format/safetensors_folder.h"

namespace flashmoe::format {

std::unique_ptr<Checkpoint> Checkpoint::open(const std::string& folder) {
  return open_safetensors_folder(folder);
}

}  // namespace flashmoe::format

// Names of the files of a model that is cut into numbered ones: model-00002-of-00005.safetensors,
// model-00002-of-00005.gguf.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flashmoe::format {

struct PartName {
  std::string stem;  // "model-"
  int number = 0;    // from 1, as in the name
  int count = 0;
  std::string extension;

  std::string name(int part) const;
  std::vector<std::string> all() const;  // names in order
};

// Nothing when `name` (without folders) is not numbered so or has another extension.
std::optional<PartName> parse_part_name(const std::string& name, std::string_view extension);

// Throws Error kNotFound when some of the files `names` are not in `folder`.
void check_parts_present(const std::string& folder, const std::vector<std::string>& names);

}  // namespace flashmoe::format

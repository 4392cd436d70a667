// The layering rule as a function of texts: which folders of src/ may include which. Owns the rule,
// not the reading of files.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace flashmoe::layering {

// The folders in the order of docs/architecture.md: each may use only those before it.
const std::vector<std::string>& folder_order();

struct SourceTree {
  std::map<std::string, std::string> cmake_lists;  // src/<folder>/CMakeLists.txt by folder
  std::map<std::string, std::string> files;        // sources and headers by path, "src/io/file.h"
};

// Folder -> the folders in the DEPS of its flashmoe_library(...); for a program's folder, those in
// its target_link_libraries(...).
std::map<std::string, std::set<std::string>> parse_deps(const SourceTree& tree);

// One sentence for each breach: a library or DEPS against the order, an include of a folder that is
// not in the DEPS of the file's folder or theirs.
std::vector<std::string> find_violations(const SourceTree& tree);

}  // namespace flashmoe::layering

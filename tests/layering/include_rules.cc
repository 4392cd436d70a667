#include "tests/layering/include_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <sstream>

namespace flashmoe::layering {
namespace {

using Deps = std::map<std::string, std::set<std::string>>;

// include/flashmoe/ is the engine's public face: whoever may use the engine may include it.
constexpr char kPublicFolder[] = "flashmoe";
constexpr char kPublicOwner[] = "engine";

// g++ 12 warns of std::regex itself under sanitizers, so texts are taken apart by hand.

std::string without_cmake_comments(std::string text) {
  for (size_t at = text.find('#'); at != std::string::npos; at = text.find('#', at)) {
    text.erase(at, text.find('\n', at) - at);
  }
  return text;
}

// What stands between the parentheses of each call of a CMake command.
std::vector<std::string> calls(const std::string& text, const std::string& command) {
  std::vector<std::string> arguments;
  const std::string start = command + "(";
  for (size_t at = text.find(start); at != std::string::npos; at = text.find(start, at)) {
    at += start.size();
    arguments.push_back(text.substr(at, text.find(')', at) - at));
  }
  return arguments;
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

ptrdiff_t place_of(const std::string& folder) {
  const std::vector<std::string>& order = folder_order();
  const auto at = std::ranges::find(order, folder);
  return at == order.end() ? -1 : at - order.begin();
}

// The folder and all that it reaches.
std::set<std::string> closure(const Deps& deps, const std::string& folder) {
  std::set<std::string> reached;
  std::vector<std::string> todo = {folder};
  while (!todo.empty()) {
    const std::string next = todo.back();
    todo.pop_back();
    if (!reached.insert(next).second) continue;
    if (const auto at = deps.find(next); at != deps.end()) {
      todo.insert(todo.end(), at->second.begin(), at->second.end());
    }
  }
  return reached;
}

// The folders named in #include "folder/...".
std::set<std::string> included_folders(const std::string& text) {
  std::set<std::string> folders;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::erase_if(line, [](char c) { return c == ' ' || c == '\t'; });
    const std::string start = "#include\"";
    const size_t slash = line.find('/');
    if (!line.starts_with(start) || slash == std::string::npos) continue;
    folders.insert(line.substr(start.size(), slash - start.size()));
  }
  return folders;
}

}  // namespace

const std::vector<std::string>& folder_order() {
  static const std::vector<std::string> order = {
      "base",  "text",   "terminal", "io",   "quant",   "format", "kernels", "limits", "experts",
      "model", "engine", "bench",    "eval", "convert", "http",   "server",  "chat",   "cli"};
  return order;
}

Deps parse_deps(const SourceTree& tree) {
  static const std::string prefix = "flashmoe_";
  static const std::set<std::string> keywords = {"SOURCES", "DEPS", "LINK"};
  Deps deps;
  for (const auto& [folder, raw] : tree.cmake_lists) {
    const std::string text = without_cmake_comments(raw);
    for (const std::string& call : calls(text, "flashmoe_library")) {
      const std::vector<std::string> arguments = words(call);
      if (arguments.empty()) continue;
      std::set<std::string>& of_library = deps[arguments[0]];
      std::string keyword;
      for (size_t i = 1; i < arguments.size(); ++i) {
        if (keywords.contains(arguments[i])) {
          keyword = arguments[i];
        } else if (keyword == "DEPS") {
          of_library.insert(arguments[i]);
        }
      }
    }
    // A folder that is a program links libraries by their full names.
    if (deps.contains(folder)) continue;
    for (const std::string& call : calls(text, "target_link_libraries")) {
      for (const std::string& argument : words(call)) {
        if (argument.starts_with(prefix)) deps[folder].insert(argument.substr(prefix.size()));
      }
    }
  }
  return deps;
}

std::vector<std::string> find_violations(const SourceTree& tree) {
  std::vector<std::string> violations;
  const Deps deps = parse_deps(tree);
  for (const auto& [folder, of_folder] : deps) {
    const ptrdiff_t place = place_of(folder);
    if (place < 0) {
      violations.push_back(fmt::format("library {} is not in the table of folders", folder));
      continue;
    }
    for (const std::string& dep : of_folder) {
      if (const ptrdiff_t dep_place = place_of(dep); dep_place < 0 || dep_place >= place) {
        violations.push_back(
            fmt::format("library {} depends on {}, which does not come before it", folder, dep));
      }
    }
  }

  std::set<std::string> without_library;
  for (const auto& [path, text] : tree.files) {
    const size_t slash = path.find('/');
    const std::string root = path.substr(0, slash);
    const std::string folder = path.substr(slash + 1, path.find('/', slash + 1) - slash - 1);
    if (root == "src" && !deps.contains(folder)) {
      if (without_library.insert(folder).second) {
        violations.push_back(fmt::format("src/{} holds {} but no library", folder, path));
      }
      continue;
    }
    const std::set<std::string> reached = closure(deps, folder);
    for (const std::string& included : included_folders(text)) {
      if (root == "include") {
        if (included == kPublicFolder) continue;
        violations.push_back(fmt::format(
            "{} includes {}/: public headers may include only each other", path, included));
        continue;
      }
      const std::string owner = included == kPublicFolder ? kPublicOwner : included;
      if (place_of(owner) < 0 || reached.contains(owner)) continue;
      violations.push_back(fmt::format("{} includes {}/, which library {} does not depend on", path,
                                       included, folder));
    }
  }
  return violations;
}

}  // namespace flashmoe::layering

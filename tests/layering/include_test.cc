#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/layering/include_rules.h"

namespace flashmoe::layering {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

SourceTree read_tree(const fs::path& root) {
  SourceTree tree;
  for (const char* top : {"src", "include"}) {
    if (!fs::is_directory(root / top)) continue;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root / top)) {
      if (!entry.is_regular_file()) continue;
      const std::string path = fs::relative(entry.path(), root).generic_string();
      const std::string extension = entry.path().extension().string();
      if (entry.path().filename() == "CMakeLists.txt") {
        const fs::path folder = fs::relative(entry.path().parent_path(), root / "src");
        tree.cmake_lists[folder.generic_string()] = read(entry.path());
      } else if (extension == ".h" || extension == ".cc" || extension == ".cu" ||
                 extension == ".inc" || extension == ".inl") {
        tree.files[path] = read(entry.path());
      }
    }
  }
  return tree;
}

using Violations = std::vector<std::string>;

TEST(LayeringTest, TheSourceTreeKeepsTheRule) {
  const SourceTree tree = read_tree(FLASHMOE_SOURCE_DIR);
  EXPECT_GT(tree.files.size(), 10u);
  EXPECT_TRUE(parse_deps(tree).contains("base"));
  for (const std::string& violation : find_violations(tree)) ADD_FAILURE() << violation;
}

// A small tree that keeps the rule; each test below breaks it in one place.
SourceTree good_tree() {
  SourceTree tree;
  tree.cmake_lists["base"] = "flashmoe_library(base\n  SOURCES a.cc\n  LINK Threads::Threads)\n";
  tree.cmake_lists["io"] =
      "# DEPS model\nflashmoe_library(io SOURCES file.cc  # (a comment)\n  DEPS base LINK uring)";
  tree.cmake_lists["format"] = "flashmoe_library(format DEPS io SOURCES f.cc)";
  tree.cmake_lists["engine"] = "flashmoe_library(engine SOURCES e.cc DEPS format)";
  tree.files["src/base/a.h"] = "#include <vector>\n";
  tree.files["src/base/a.cc"] = "#include \"base/a.h\"\n";
  tree.files["src/io/file.h"] = "#include \"base/a.h\"\n#include \"io/other.h\"\n";
  tree.files["src/format/f.cc"] =
      "#include \"base/a.h\"\n\n#include \"io/file.h\"\n// #include \"engine/e.h\"\n"
      "#include \"nlohmann/json.hpp\"\n";
  tree.files["src/engine/e.cc"] = "#include \"flashmoe/engine.h\"\n#include \"io/file.h\"\n";
  tree.files["include/flashmoe/engine.h"] = "#include <string>\n#include \"flashmoe/types.h\"\n";
  return tree;
}

TEST(LayeringTest, ReadsDeps) {
  const auto deps = parse_deps(good_tree());
  ASSERT_EQ(deps.size(), 4u);
  EXPECT_TRUE(deps.at("base").empty());
  EXPECT_EQ(deps.at("io"), std::set<std::string>{"base"});
  EXPECT_EQ(deps.at("format"), std::set<std::string>{"io"});
}

TEST(LayeringTest, ReadsWhatAProgramLinks) {
  SourceTree tree = good_tree();
  tree.cmake_lists["cli"] =
      "add_executable(flashmoe main.cc)\n"
      "target_link_libraries(flashmoe PRIVATE flashmoe_engine CLI11::CLI11)\n";
  EXPECT_EQ(parse_deps(tree).at("cli"), std::set<std::string>{"engine"});
  tree.files["src/cli/main.cc"] = "#include \"flashmoe/engine.h\"\n#include \"server/s.h\"\n";
  EXPECT_EQ(find_violations(tree),
            Violations{"src/cli/main.cc includes server/, which library cli does not depend on"});
}

TEST(LayeringTest, AcceptsAGoodTree) { EXPECT_EQ(find_violations(good_tree()), Violations{}); }

TEST(LayeringTest, FindsAnIncludeAgainstTheOrder) {
  SourceTree tree = good_tree();
  tree.files["src/io/file.cc"] = "#include \"io/file.h\"\n  #  include  \"format/f.h\"\n";
  EXPECT_EQ(find_violations(tree),
            Violations{"src/io/file.cc includes format/, which library io does not depend on"});
}

TEST(LayeringTest, FindsAnIncludeOfAFolderThatIsNoDependency) {
  SourceTree tree = good_tree();
  tree.cmake_lists["quant"] = "flashmoe_library(quant DEPS base)";
  tree.files["src/quant/x/y.cc"] = "#include \"io/file.h\"\n";
  EXPECT_EQ(find_violations(tree),
            Violations{"src/quant/x/y.cc includes io/, which library quant does not depend on"});
}

TEST(LayeringTest, FindsDepsAgainstTheOrder) {
  SourceTree tree = good_tree();
  tree.cmake_lists["io"] = "flashmoe_library(io SOURCES file.cc DEPS base format)";
  EXPECT_EQ(find_violations(tree),
            Violations{"library io depends on format, which does not come before it"});
}

TEST(LayeringTest, FindsUnknownFolders) {
  SourceTree tree = good_tree();
  tree.cmake_lists["utils"] = "flashmoe_library(utils DEPS base)";
  tree.files["src/core/c.h"] = "";
  EXPECT_EQ(find_violations(tree), (Violations{"library utils is not in the table of folders",
                                               "src/core holds src/core/c.h but no library"}));
}

TEST(LayeringTest, KeepsPublicHeadersFreeOfInternals) {
  SourceTree tree = good_tree();
  tree.files["include/flashmoe/engine.h"] = "#include \"base/a.h\"\n";
  tree.files["src/format/f.cc"] = "#include \"flashmoe/engine.h\"\n";
  EXPECT_EQ(
      find_violations(tree),
      (Violations{"include/flashmoe/engine.h includes base/: public headers may include only each "
                  "other",
                  "src/format/f.cc includes flashmoe/, which library format does not depend on"}));
}

}  // namespace
}  // namespace flashmoe::layering

#include "format/locate.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>

#include "tests/base/temp_folder.h"
#include "tests/format/files.h"

namespace flashmoe::format {
namespace {

namespace fs = std::filesystem;

Environment with(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

TEST(Locate, TakesAFolderAsItIs) {
  const TempFolder folder;
  folder.write("m/config.json", "{}");
  EXPECT_EQ(locate_model(folder.file("m"), with({})), folder.file("m"));
}

TEST(Locate, PointsToTheFolderOfAFile) {
  const TempFolder folder;
  folder.write("m/config.json", "{}");
  folder.write("m/model.safetensors", "x");
  for (const std::string file : {"m/config.json", "m/model.safetensors"}) {
    expect_error(ErrorCode::kUsage,
                 {folder.file(file), "name the folder that it is in: " + folder.file("m")},
                 [&] { locate_model(folder.file(file), with({})); });
  }
}

TEST(Locate, TakesGgufFiles) {
  const TempFolder folder;
  folder.write("m/a.gguf", "x");
  EXPECT_EQ(locate_model(folder.file("m/a.gguf"), with({})), folder.file("m/a.gguf"));
  EXPECT_EQ(locate_model(folder.file("m"), with({})), folder.file("m/a.gguf"));
  // Not a model of its own; and a config.json beside it changes nothing.
  folder.write("m/mmproj-F16.gguf", "x");
  folder.write("m/config.json", "{}");
  EXPECT_EQ(locate_model(folder.file("m"), with({})), folder.file("m/a.gguf"));
  folder.write("m/b.gguf", "x");
  expect_error(ErrorCode::kUsage, {folder.file("m"), "2 models", folder.file("m/a.gguf")},
               [&] { locate_model(folder.file("m"), with({})); });
  folder.write("m/model.safetensors", "x");
  EXPECT_EQ(locate_model(folder.file("m"), with({})), folder.file("m"));
}

TEST(Locate, TakesAnyPartOfASplitGguf) {
  const TempFolder folder;
  const std::string first = folder.file("m/x-00001-of-00003.gguf");
  folder.write("m/x-00001-of-00003.gguf", "x");
  folder.write("m/x-00002-of-00003.gguf", "x");
  folder.write("m/x-00003-of-00003.gguf", "x");
  EXPECT_EQ(locate_model(folder.file("m"), with({})), first);
  EXPECT_EQ(locate_model(folder.file("m/x-00002-of-00003.gguf"), with({})), first);
  EXPECT_EQ(locate_model(first, with({})), first);
}

TEST(Locate, FindsGgufInTheCache) {
  const TempFolder folder;
  const Environment environment = with({{"HF_HUB_CACHE", folder.path()}});
  folder.write("models--o--m/snapshots/a/x.gguf", "x");
  EXPECT_EQ(locate_model("o/m", environment), folder.file("models--o--m/snapshots/a/x.gguf"));
  EXPECT_EQ(locate_model(folder.file("models--o--m"), with({})),
            folder.file("models--o--m/snapshots/a/x.gguf"));
}

TEST(Locate, HelpsWithFoldersThatAreNoModel) {
  const TempFolder folder;
  folder.write("empty/readme.txt", "");
  expect_error(ErrorCode::kNotFound, {folder.file("empty"), "no config.json"},
               [&] { locate_model(folder.file("empty"), with({})); });
  folder.write("outer/inner/config.json", "{}");
  expect_error(ErrorCode::kNotFound,
               {folder.file("outer"), "did you mean " + folder.file("outer/inner")},
               [&] { locate_model(folder.file("outer"), with({})); });
}

TEST(Locate, FindsEachPlaceOfTheCacheInOrder) {
  const TempFolder folder;
  const std::string repository = "models--org--Some.Name-1_2";
  const std::string snapshot = repository + "/snapshots/abc123";
  const std::vector<std::pair<std::string, std::string>> places = {
      {"hub-cache", "hub-cache"},
      {"hf-home", "hf-home/hub"},
      {"xdg", "xdg/huggingface/hub"},
      {"home", "home/.cache/huggingface/hub"}};
  std::map<std::string, std::string> variables;
  const char* names[] = {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"};
  for (size_t i = 0; i < 4; ++i) {
    variables[names[i]] = folder.file(places[i].first);
    folder.write(places[i].second + "/" + snapshot + "/config.json", "{}");
    folder.write(places[i].second + "/" + repository + "/refs/main", "abc123\n");
  }
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(locate_model("org/Some.Name-1_2", with(variables)),
              folder.file(places[i].second) + "/" + snapshot);
    variables[names[i]] = "";  // as if it were not set
  }
  variables = {{"HOME", folder.file("home")}, {"HF_HUB_CACHE", "~/.cache/huggingface/hub"}};
  EXPECT_EQ(locate_model("org/Some.Name-1_2", with(variables)),
            folder.file(places[3].second) + "/" + snapshot);
  // A folder of the cache by its own name.
  EXPECT_EQ(locate_model(folder.file("hub-cache/" + repository), with({})),
            folder.file("hub-cache/" + snapshot));
}

TEST(Locate, ChoosesTheSnapshot) {
  const TempFolder folder;
  const Environment environment = with({{"HF_HUB_CACHE", folder.path()}});
  const std::string base = "models--o--m/snapshots/";
  folder.write(base + "old/config.json", "{}");
  folder.write(base + "new/config.json", "{}");
  const auto now = fs::file_time_type::clock::now();
  fs::last_write_time(folder.file(base + "old"), now - std::chrono::hours(1));
  fs::last_write_time(folder.file(base + "new"), now);
  EXPECT_EQ(locate_model("o/m", environment), folder.file(base + "new"));
  fs::last_write_time(folder.file(base + "old"), now + std::chrono::hours(1));
  EXPECT_EQ(locate_model("o/m", environment), folder.file(base + "old"));
  folder.write("models--o--m/refs/main", "new");
  EXPECT_EQ(locate_model("o/m", environment), folder.file(base + "new"));
  // A name that leads out of the cache is no snapshot's.
  folder.write("models--o--m/refs/main", "../../x");
  expect_error(ErrorCode::kNotFound, {"did not finish"}, [&] { locate_model("o/m", environment); });
}

TEST(Locate, GivesTheCommandThatFetches) {
  const TempFolder folder;
  const Environment environment = with({{"HF_HUB_CACHE", folder.path()}});
  expect_error(ErrorCode::kNotFound, {"org/name", folder.path(), "hf download org/name"},
               [&] { locate_model("org/name", environment); });
  folder.write("models--org--name/refs/main", "abc");
  expect_error(ErrorCode::kNotFound, {"did not finish", "hf download org/name"},
               [&] { locate_model("org/name", environment); });
  folder.write("models--org--name/snapshots/abc/model.safetensors", "");
  expect_error(ErrorCode::kNotFound, {"did not finish", "hf download org/name"},
               [&] { locate_model("org/name", environment); });
}

TEST(Locate, RefusesOtherNames) {
  const TempFolder folder;
  const Environment environment = with({{"HF_HUB_CACHE", folder.path()}});
  for (const char* name : {"name", "a/b/c", "/org/name-that-is-not-there", "org/", "/name", "../x",
                           "org/..", "o rg/name", "org/na;me"}) {
    expect_error(ErrorCode::kNotFound, {name, "no such folder"},
                 [&] { locate_model(name, environment); });
  }
  expect_error(ErrorCode::kUsage, {"empty"}, [&] { locate_model("", environment); });
}

}  // namespace
}  // namespace flashmoe::format

// Which matrix gets how many bits, and how they are chosen: data, from a readable JSON file or one
// of those built in. Owns the file's format and the kinds of matrices; writes nothing.
//
//   {                                  // comments are allowed
//     "about": "what it is for",
//     "rounding": "fitted",            // by least squares (quant/fit.h); or "plain", smallest to
//     largest "bits": 2, "group": 64,          // of every matrix not named below; the command line
//     overrides "kinds": {
//       "router": {"bits": 8},         // exactly; its group is that above
//       "attention_out": {"at_least": 4, "group": 128}
//     }
//   }
//
// Where a group does not divide a matrix's columns, the next smaller one that does is taken; a
// matrix whose columns not even 32 divides stays as it is.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flashmoe::convert {

// Bits and group of a matrix in MLX's affine format.
struct MlxFormat {
  int bits = 0;
  int group = 0;
};

struct Recipe {
  enum class Rounding { kPlain, kFitted };
  struct Rule {
    std::optional<int> bits, at_least, group;
  };

  Rounding rounding = Rounding::kFitted;
  MlxFormat format = {4, 64};
  std::map<std::string, Rule> kinds;

  // For a matrix by MLX's path and its columns; nullopt: it stays as it is.
  std::optional<MlxFormat> format_of(std::string_view path, int64_t cols) const;
};

// What the caller of a recipe asks for instead of what stands in it.
struct RecipeChanges {
  std::optional<int> bits, group;
};

// `text` is a recipe's JSON, `name` for messages. Throws Error kUsage.
Recipe parse_recipe(std::string_view text, const std::string& name, const RecipeChanges& changes);

// The text of a built-in recipe: "minmax", "even" or "mixed"; nullptr for other names. That of
// "mixed" depends on the bits.
const char* built_in_recipe(std::string_view name, int bits);
std::vector<std::string> built_in_recipe_names();
// That of a built-in recipe, or of a file. Throws Error, kUsage where it is neither.
std::string recipe_text(const std::string& recipe, int bits);

// "router", "experts_down", …: the kind of the matrix with this path.
std::string kind_of_matrix(std::string_view path);

}  // namespace flashmoe::convert

// A recipe is other people's data: it is refused with an Error, or gives every matrix a format that
// exists and fits its columns.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "convert/recipe.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flashmoe;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const convert::RecipeChanges& changes :
       {convert::RecipeChanges{}, convert::RecipeChanges{2, 128}, convert::RecipeChanges{8, {}}}) {
    try {
      const convert::Recipe recipe = convert::parse_recipe(text, "recipe", changes);
      for (const char* path :
           {"model.layers.0.mlp.gate", "model.layers.0.mlp.switch_mlp.down_proj", "lm_head",
            "language_model.model.layers.7.linear_attn.out_proj", "model.embed_tokens", "other"}) {
        for (const int64_t cols : {1, 32, 96, 192, 2048}) {
          const std::optional<convert::MlxFormat> format = recipe.format_of(path, cols);
          if (!format) continue;
          CHECK(format->group == 32 || format->group == 64 || format->group == 128);
          CHECK(cols % format->group == 0);
          CHECK(format->bits >= 2 && format->bits <= 8 && format->bits != 7);
        }
      }
    } catch (const Error&) {
    }
  }
  return 0;
}

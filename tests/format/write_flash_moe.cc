// For tools/check_flash_moe.py: writes the files of tests/format/flash_moe_files.h; no test.
#include <fmt/format.h>

#include <exception>
#include <string_view>

#include "tests/format/flash_moe_files.h"

int main(int argc, char** argv) {
  using flashmoe::format::FlashMoeExperts;
  const std::string_view kind = argc == 4 ? argv[3] : "";
  try {
    flashmoe::format::write_flash_moe(argc == 4 ? argv[1] : "", argc == 4 ? argv[2] : "",
                                      kind == "files"  ? FlashMoeExperts::kFiles
                                      : kind == "2bit" ? FlashMoeExperts::kTwoBitsToo
                                      : kind == "lz4"  ? FlashMoeExperts::kLz4Blocks
                                                       : FlashMoeExperts::kLayers);
  } catch (const std::exception& error) {
    fmt::print(stderr, "usage: write_flash_moe MLX_MODEL OUT layers|files|2bit|lz4: {}\n",
               error.what());
    return 1;
  }
  return 0;
}

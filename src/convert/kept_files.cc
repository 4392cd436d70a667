#include "convert/kept_files.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include "base/atomic_file.h"
#include "base/error.h"
#include "format/input_file.h"
#include "format/store_manifest.h"
#include "io/file.h"

namespace flashmoe::convert {

namespace fs = std::filesystem;

namespace {

constexpr size_t kCopyBytes = size_t{1} << 20;

bool is_kept(const fs::path& name) {
  // Of the weights' own formats: their indexes say where tensors were.
  constexpr const char* kIndexes[] = {"config.json", format::kStoreManifestName,
                                      "model_weights.json", "expert_index.json", "layout.json"};
  if (std::find(std::begin(kIndexes), std::end(kIndexes), name) != std::end(kIndexes) ||
      name.string().ends_with(".index.json") || name.string().starts_with(".")) {
    return false;
  }
  constexpr const char* kExtensions[] = {".json", ".jinja", ".txt", ".model", ".tiktoken"};
  constexpr const char* kNames[] = {"LICENSE", "LICENCE", "NOTICE", "tokenizer.bin"};
  return std::find(std::begin(kExtensions), std::end(kExtensions), name.extension()) !=
             std::end(kExtensions) ||
         std::any_of(std::begin(kNames), std::end(kNames),
                     [&](const char* start) { return name.string().starts_with(start); });
}

}  // namespace

std::vector<fs::path> kept_files(const std::string& model) {
  std::vector<fs::path> files;
  std::error_code error;
  if (!fs::is_directory(model, error)) return files;
  for (fs::directory_iterator entry(model, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;  // links to nowhere count as other things than files
    if (is_kept(entry->path().filename()) && entry->is_regular_file(ignored)) {
      files.push_back(entry->path());
    }
  }
  if (error) throw_error(ErrorCode::kIo, "{}: cannot be listed: {}", model, error.message());
  std::sort(files.begin(), files.end());
  return files;
}

void copy_whole(const fs::path& from, const fs::path& to) {
  const io::File source(from.string());
  AtomicFile file(to.string());
  for (uint64_t at = 0; at < source.size(); at += kCopyBytes) {
    file.write(format::read_text(source, at, std::min<uint64_t>(kCopyBytes, source.size() - at)));
  }
  file.commit();
}

}  // namespace flashmoe::convert

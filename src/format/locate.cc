#include "format/locate.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "format/flash_moe_folder.h"
#include "format/gguf_checkpoint.h"
#include "format/input_file.h"
#include "format/store.h"

namespace flashmoe::format {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kMaxRefBytes = 256;

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> result;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    result.push_back(entry->path());
  }
  std::sort(result.begin(), result.end());
  return result;
}

// "org/name", as Hugging Face allows it.
bool is_repository_name(const std::string& name) {
  const size_t slash = name.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == name.size()) return false;
  if (name.front() == '.' || name[slash + 1] == '.') return false;
  return std::count(name.begin(), name.end(), '/') == 1 &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 ||
                  std::string_view("/._-").find(static_cast<char>(c)) != std::string_view::npos;
         });
}

fs::path cache_folder(const Environment& environment) {
  const std::string home = environment("HOME").value_or("");
  const auto variable = [&](const char* name) -> std::optional<fs::path> {
    std::string value = environment(name).value_or("");
    if (value.empty()) return std::nullopt;
    if (value == "~" || value.starts_with("~/")) value.replace(0, 1, home);
    return value;
  };
  if (const auto hub = variable("HF_HUB_CACHE")) return *hub;
  if (const auto hf_home = variable("HF_HOME")) return *hf_home / "hub";
  if (const auto cache = variable("XDG_CACHE_HOME")) return *cache / "huggingface" / "hub";
  return fs::path(home) / ".cache" / "huggingface" / "hub";
}

// The snapshot that a repository's folder in the cache stands for: that of refs/main, else the
// newest. Nothing when there is none.
std::optional<fs::path> find_snapshot(const fs::path& repository) {
  const fs::path snapshots = repository / "snapshots";
  const fs::path ref = repository / "refs" / "main";
  if (is_there(ref)) {
    const io::File file = open_input(ref.string());
    std::string revision = read_text(file, 0, std::min<uint64_t>(file.size(), kMaxRefBytes));
    revision.erase(std::find_if(revision.begin(), revision.end(),
                                [](unsigned char c) { return std::isalnum(c) == 0; }),
                   revision.end());
    if (revision.empty() || !is_folder(snapshots / revision)) return std::nullopt;
    return snapshots / revision;
  }
  std::optional<fs::path> newest;
  std::error_code ignored;
  for (const fs::path& snapshot : entries(snapshots)) {
    if (is_folder(snapshot) && (!newest || fs::last_write_time(snapshot, ignored) >
                                               fs::last_write_time(*newest, ignored))) {
      newest = snapshot;
    }
  }
  return newest;
}

// The models in a folder's .gguf files: a split one by its first part; without those for images.
std::vector<fs::path> gguf_models(const fs::path& folder) {
  std::vector<fs::path> models;
  for (const fs::path& entry : entries(folder)) {
    if (!is_gguf(entry.string()) || entry.filename().string().starts_with("mmproj")) continue;
    const fs::path first = first_gguf_part(entry.string());
    if (models.empty() || models.back() != first) models.push_back(first);
  }
  return models;
}

bool has_safetensors(const fs::path& folder) {
  const std::vector<fs::path> files = entries(folder);
  return std::any_of(files.begin(), files.end(), [](const fs::path& file) {
    return file.filename().string().find(".safetensors") != std::string::npos;
  });
}

// The model in a folder; nothing when there is none.
std::optional<std::string> find_in_folder(const fs::path& folder) {
  if (is_store(folder.string()) || is_flash_moe(folder.string())) return folder.string();
  const bool has_config = is_there(folder / "config.json");
  if (has_config && has_safetensors(folder)) return folder.string();
  const std::vector<fs::path> models = gguf_models(folder);
  if (models.size() > 1) {
    throw_error(ErrorCode::kUsage, "{}: holds {} models; name one of the files, such as {}",
                folder.string(), models.size(), models.front().string());
  }
  if (models.size() == 1) return models.front().string();
  if (has_config) return folder.string();
  return std::nullopt;
}

std::string locate_repository(const std::string& name, const Environment& environment) {
  std::string folder_name = "models--" + name;
  folder_name.replace(folder_name.find('/'), 1, "--");
  const fs::path cache = cache_folder(environment);
  const fs::path repository = cache / folder_name;
  if (!is_folder(repository)) {
    throw_error(ErrorCode::kNotFound,
                "{}: is no folder, nor in the Hugging Face cache {}; fetch it with: hf download {}",
                name, cache.string(), name);
  }
  const std::optional<fs::path> snapshot = find_snapshot(repository);
  const std::optional<std::string> model = snapshot ? find_in_folder(*snapshot) : std::nullopt;
  if (!model) {
    throw_error(ErrorCode::kNotFound,
                "{}: its download to {} did not finish; finish it with: hf download {}", name,
                repository.string(), name);
  }
  return *model;
}

std::string locate_in_folder(const fs::path& folder) {
  if (const auto model = find_in_folder(folder)) return *model;
  if (const auto snapshot = find_snapshot(folder)) {
    if (const auto model = find_in_folder(*snapshot)) return *model;
  }
  for (const fs::path& entry : entries(folder)) {
    if (is_there(entry / "config.json")) {
      throw_error(ErrorCode::kNotFound, "{}: has no config.json; did you mean {}?", folder.string(),
                  entry.string());
    }
  }
  throw_error(ErrorCode::kNotFound,
              "{}: has no config.json; name the folder of a model, with config.json and "
              "*.safetensors, or a .gguf file",
              folder.string());
}

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
}

std::string locate_model(const std::string& name, const Environment& environment) {
  if (name.empty()) throw_error(ErrorCode::kUsage, "the model's name is empty");
  const fs::path path(name);
  if (is_folder(path)) return locate_in_folder(path);
  if (is_there(path)) {
    if (is_gguf(name)) return first_gguf_part(name);
    const std::string parent = path.parent_path().string();
    throw_error(ErrorCode::kUsage,
                "{}: is a file, but not .gguf; name the folder that it is in: {}", name,
                parent.empty() ? "." : parent);
  }
  if (is_repository_name(name)) return locate_repository(name, environment);
  throw_error(
      ErrorCode::kNotFound,
      "{}: no such folder or file; name a folder with config.json, a .gguf file, or org/name "
      "of a model in the Hugging Face cache",
      name);
}

}  // namespace flashmoe::format

#include "cli/locate.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/program_path.h"
#include "format/locate.h"

namespace flashmoe::cli {

namespace fs = std::filesystem;

namespace {

// From the program's own place: <source>/build/<preset>/flashmoe or <prefix>/bin/flashmoe.
std::string embedded_model() {
  std::error_code error;
  const fs::path bin = fs::path(program_path()).parent_path();
  for (const char* relative : {"../../models/tiny", "../share/flashmoe/models/tiny"}) {
    const fs::path folder = (bin / relative).lexically_normal();
    if (fs::exists(folder / "config.json", error)) return folder.string();
  }
  throw_error(ErrorCode::kNotFound,
              "the embedded model was found neither beside the build tree nor in "
              "../share/flashmoe/models/tiny of {}; name a model",
              bin.string());
}

}  // namespace

std::string model_folder(const std::string& model) {
  return model.empty() ? embedded_model()
                       : format::locate_model(model, format::process_environment());
}

std::string display_name(const std::string& model, const std::string& folder) {
  std::error_code error;
  if (!model.empty() && !std::filesystem::exists(model, error)) return model;
  const std::string name = std::filesystem::absolute(folder).lexically_normal().filename();
  return name.empty() ? "model" : name;
}

bool names_model(const std::string& argument) {
  std::error_code error;
  if (fs::exists(argument, error)) return true;
  const size_t slash = argument.find('/');
  return slash != std::string::npos && slash > 0 && slash + 1 < argument.size() &&
         argument.find('/', slash + 1) == std::string::npos &&
         argument.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
             "-._/") == std::string::npos;
}

std::string read_text(const std::string& path, const char* what) {
  const auto close = [](std::FILE* f) {
    if (f != stdin) std::fclose(f);
  };
  std::unique_ptr<std::FILE, decltype(close)> file(
      path == "-" ? stdin : std::fopen(path.c_str(), "rb"), close);
  if (!file) {
    throw_error(ErrorCode::kIo, "{}: cannot open the {}: {}", path, what, std::strerror(errno));
  }
  std::string text;
  char buffer[1 << 16];
  while (const size_t n = std::fread(buffer, 1, sizeof(buffer), file.get())) text.append(buffer, n);
  if (std::ferror(file.get())) {
    throw_error(ErrorCode::kIo, "{}: cannot read the {}: {}", path, what, std::strerror(errno));
  }
  return text;
}

}  // namespace flashmoe::cli

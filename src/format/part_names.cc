#include "format/part_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/error.h"

namespace flashmoe::format {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kOf = "-of-";
constexpr size_t kDigits = 5;

bool is_number(std::string_view text) {
  return text.size() == kDigits &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string PartName::name(int part) const {
  return fmt::format("{}{:05}{}{:05}{}", stem, part, kOf, count, extension);
}

std::vector<std::string> PartName::all() const {
  std::vector<std::string> names;
  for (int i = 1; i <= count; ++i) names.push_back(name(i));
  return names;
}

std::optional<PartName> parse_part_name(const std::string& name, std::string_view extension) {
  const size_t tail = 2 * kDigits + kOf.size() + extension.size();
  if (name.size() <= tail || !name.ends_with(extension)) return std::nullopt;
  const std::string_view numbers = std::string_view(name).substr(name.size() - tail);
  const std::string_view number = numbers.substr(0, kDigits);
  const std::string_view count = numbers.substr(kDigits + kOf.size(), kDigits);
  if (!is_number(number) || numbers.substr(kDigits, kOf.size()) != kOf || !is_number(count)) {
    return std::nullopt;
  }
  return PartName{name.substr(0, name.size() - tail), std::stoi(std::string(number)),
                  std::stoi(std::string(count)), std::string(extension)};
}

void check_parts_present(const std::string& folder, const std::vector<std::string>& names) {
  std::vector<std::string> missing;
  bool downloading = false;
  std::error_code ignored;
  for (const std::string& name : names) {
    const fs::path path = fs::path(folder) / name;
    if (fs::exists(path, ignored)) continue;
    missing.push_back(name);
    downloading = downloading || fs::exists(path.string() + ".incomplete", ignored);
  }
  if (missing.empty()) return;
  throw_error(
      ErrorCode::kNotFound, "{}: {} of the model's {} weight files {} missing ({}{}){}",
      folder.empty() ? "." : folder, missing.size(), names.size(),
      missing.size() == 1 ? "is" : "are", missing.front(), missing.size() > 1 ? ", ..." : "",
      downloading ? "; the download did not finish, start it again" : "; download it again");
}

}  // namespace flashmoe::format

#include "bench/report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <memory>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "bench/commit.h"
#include "limits/machine_name.h"

namespace flashmoe::bench {

namespace {

constexpr std::string_view kHeading =
    "time\tcommit\tmachine\tbench\tmodel\tsetting\tfigure\tunit\tlimit\tfraction\tfigures\tverdict"
    "\t"
    "note\n";

// One field of a row: what would end it becomes a space.
std::string field(std::string text) {
  for (char& c : text) {
    if (c == '\t' || c == '\n' || c == '\r') c = ' ';
  }
  return text;
}

}  // namespace

std::string report_text(const Report& report) {
  std::string text;
  for (const std::string& line : report.lines) text += line + "\n";
  return text;
}

Json report_json(const Report& report) {
  Json json;
  json["bench"] = report.name;
  if (!report.model.empty()) json["model"] = report.model;
  json["commit"] = commit_name();
  json["machine"] = limits::machine_name();
  json["setting"] = report.setting;
  json.update(report.figures);
  return json;
}

void append_result(const std::string& path, const Report& report, const std::string& verdict,
                   const std::string& note) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "ab"),
                                                             std::fclose);
  const auto fail = [&] {
    throw_error(ErrorCode::kIo, "{}: cannot add a result: {}", path, std::strerror(errno));
  };
  if (!file) fail();
  struct stat info = {};
  const bool is_new = fstat(fileno(file.get()), &info) == 0 && info.st_size == 0;
  const std::string model = std::filesystem::path(report.model).filename().string();
  std::string row = is_new ? std::string(kHeading) : "";
  row += fmt::format(
      "{:%Y-%m-%dT%H:%M:%SZ}\t{}\t{}\t{}\t{}\t{}\t{:.4g}\t{}\t{:.4g}\t{:.4f}\t{}\t{}\t{}\n",
      fmt::gmtime(std::time(nullptr)), commit_name(), field(limits::machine_name()), report.name,
      field(model), field(report.setting.dump()), report.figure, report.unit, report.limit,
      report.fraction(), field(report.figures.dump()), field(verdict), field(note));
  // One write: rows of runs at the same time do not mix.
  if (std::fwrite(row.data(), 1, row.size(), file.get()) != row.size() ||
      std::fflush(file.get()) != 0) {
    fail();
  }
}

double median(std::vector<double> values) {
  CHECK(!values.empty());
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace flashmoe::bench

#include "convert/unfinished_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>

#include "base/checksum.h"
#include "base/error.h"
#include "convert/new_folder.h"
#include "format/input_file.h"
#include "format/store.h"

namespace flashmoe::convert {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kHeader = "flashmoe pack 1 ";

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directory(path, error);
  if (error) throw_error(ErrorCode::kIo, "{}: cannot be made: {}", path.string(), error.message());
}

}  // namespace

// The journal is a line for the plan, then one for each finished file: its name, a space and the
// digits of its checksums. A line without its end was being written when the run was ended.
UnfinishedStore::UnfinishedStore(const std::string& destination, uint64_t plan)
    : destination_(resolve_destination(destination)),
      around_(destination_.parent_path() /
              fmt::format(".{}.unfinished", destination_.filename().string())),
      folder_(around_ / "store"),
      journal_path_(around_ / "journal") {
  std::error_code ignored;
  // The end of commit() was missing: the store has its name, its traces do not know yet.
  const bool moved = fs::exists(around_, ignored) && !fs::exists(folder_, ignored) &&
                     format::is_store(destination_.string());
  if (!moved) check_destination(destination_);
  make_folder(around_);
  try {
    lock();
    read_journal(plan);
  } catch (...) {
    close(journal_);
    throw;
  }
  if (moved) {
    remove_traces();
    was_finished_ = true;
  } else {
    make_folder(folder_);
    remove_unfinished();
  }
}

UnfinishedStore::~UnfinishedStore() { close(journal_); }

void UnfinishedStore::lock() {
  journal_ = open(journal_path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (journal_ < 0) {
    throw_error(ErrorCode::kIo, "{}: cannot be opened: {}", journal_path_.string(),
                std::strerror(errno));
  }
  if (flock(journal_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    throw_error(ErrorCode::kUsage, "{}: is being written by another flashmoe pack",
                destination_.string());
  }
}

void UnfinishedStore::read_journal(uint64_t plan) {
  const io::File file(journal_path_.string());
  const std::string text = file.size() > 0 ? format::read_text(file, 0, file.size()) : "";
  const size_t whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  if (whole < text.size() && ftruncate(journal_, static_cast<off_t>(whole)) != 0) {
    throw_error(ErrorCode::kIo, "{}: cannot be written: {}", journal_path_.string(),
                std::strerror(errno));
  }
  const std::string header = std::string(kHeader) + checksum_text(plan) + "\n";
  if (whole == 0) {
    append(header);
    return;
  }
  std::string_view rest = std::string_view(text).substr(0, whole);
  if (!rest.starts_with(header)) {
    throw_error(ErrorCode::kUsage,
                "{}: holds an unfinished store of another model, or its source has changed since; "
                "to begin anew, delete it: rm -r '{}'",
                around_.string(), around_.string());
  }
  rest.remove_prefix(header.size());
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() + 1);
    const size_t space = line.find(' ');
    if (space == std::string_view::npos) continue;
    std::vector<uint64_t>& xxh3 = finished_[std::string(line.substr(0, space))];
    xxh3.clear();
    line.remove_prefix(space + 1);
    for (; line.size() >= kChecksumDigits; line.remove_prefix(kChecksumDigits)) {
      xxh3.push_back(parse_checksum(line.substr(0, kChecksumDigits)).value_or(0));
    }
  }
}

void UnfinishedStore::remove_unfinished() const {
  std::error_code error;
  std::vector<fs::path> others;
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!finished_.contains(entry->path().filename().string())) others.push_back(entry->path());
  }
  for (auto path = others.begin(); !error && path != others.end(); ++path) {
    fs::remove_all(*path, error);
  }
  if (error) {
    throw_error(ErrorCode::kIo, "{}: what an earlier run left cannot be removed: {}",
                folder_.string(), error.message());
  }
}

void UnfinishedStore::append(const std::string& line) {
  // At once: what a kill cuts off is the end of one line.
  const ssize_t n = write(journal_, line.data(), line.size());
  if (n != static_cast<ssize_t>(line.size()) || fsync(journal_) != 0) {
    throw_error(ErrorCode::kIo, "{}: cannot be written: {}", journal_path_.string(),
                n < 0 ? std::strerror(errno) : "the disk is full");
  }
}

const std::vector<uint64_t>* UnfinishedStore::finished(const std::string& file) const {
  const auto found = finished_.find(file);
  return found == finished_.end() ? nullptr : &found->second;
}

void UnfinishedStore::add_finished(const std::string& file, const std::vector<uint64_t>& xxh3) {
  std::string line = file + " ";
  for (const uint64_t value : xxh3) line += checksum_text(value);
  append(line + "\n");
  finished_[file] = xxh3;
}

void UnfinishedStore::check_space(uint64_t needed_bytes) const {
  check_free_space(around_, destination_, needed_bytes);
}

void UnfinishedStore::commit() {
  sync_folder(folder_);
  std::error_code error;
  fs::rename(folder_, destination_, error);  // replaces an empty folder
  if (error) {
    throw_error(ErrorCode::kIo, "{}: cannot be named: {}", destination_.string(), error.message());
  }
  sync_folder(destination_.parent_path());
  remove_traces();
}

void UnfinishedStore::remove_traces() {
  std::error_code ignored;
  fs::remove_all(around_, ignored);
}

}  // namespace flashmoe::convert

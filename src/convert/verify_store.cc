#include "convert/verify_store.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <system_error>
#include <thread>

#include "base/aligned_buffer.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/log.h"
#include "base/stop_signal.h"
#include "base/thread_pool.h"
#include "convert/first_error.h"
#include "format/store.h"
#include "io/file.h"

namespace flashmoe::convert {

namespace fs = std::filesystem;

namespace {

constexpr int kThreads = 4;
constexpr uint64_t kUnitBytes = uint64_t{8} << 20;  // read at once, unless a record has more

class Verifier {
 public:
  explicit Verifier(const std::string& folder)
      : folder_(folder), manifest_(format::read_store_manifest(folder)), pool_(kThreads) {
    for (const auto& file : manifest_.weights) total_bytes_ += file.records.content_bytes;
    for (const auto& file : manifest_.companions) total_bytes_ += file.bytes;
  }

  VerifyReport verify() {
    const auto start = std::chrono::steady_clock::now();
    Progress progress("verifying", total_bytes_);
    for (const auto& file : manifest_.weights) check_file(file.name, file.records, &progress);
    for (const auto& file : manifest_.companions) {
      format::FileRecords records;
      records.record_bytes = std::max<uint64_t>(file.bytes, 1);
      records.content_bytes = file.bytes;
      if (file.bytes > 0) records.xxh3 = {file.xxh3};
      check_file(file.name, records, &progress, /*whole=*/true);
    }
    look_for_others();
    report_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report_;
  }

 private:
  // The file, if it is there with its size.
  std::optional<io::File> open(const std::string& name, uint64_t bytes) {
    const std::string path = (fs::path(folder_) / name).string();
    std::error_code error;
    const uint64_t there = fs::file_size(path, error);
    if (error) {
      report_.damaged.push_back({name, -1, 0, bytes, "cannot be read: " + error.message()});
      return std::nullopt;
    }
    if (there != bytes) {
      report_.damaged.push_back(
          {name, -1, 0, bytes, fmt::format("has {} bytes, but was packed with {}", there, bytes)});
      return std::nullopt;
    }
    return io::File(path, io::Access::kDirect);
  }

  void check_file(const std::string& name, const format::FileRecords& records, Progress* progress,
                  bool whole = false) {
    ++report_.files;
    const std::optional<io::File> file = open(name, records.content_bytes);
    if (!file) return;
    const uint64_t unit =
        std::max<uint64_t>(kUnitBytes / records.record_bytes, 1) * records.record_bytes;
    const auto units = static_cast<int>((records.content_bytes + unit - 1) / unit);
    const auto caller = std::this_thread::get_id();
    std::set<uint64_t> damaged;
    std::mutex mutex;
    FirstError error;
    pool_.run(units, [&](int i) {
      if (error.failed()) return;
      error.guard([&] {
        if (stop_requested()) throw Error(ErrorCode::kCancelled, "stopped");
        const uint64_t begin = static_cast<uint64_t>(i) * unit;
        const uint64_t end = std::min(begin + unit, records.content_bytes);
        AlignedBuffer buffer(end - begin);
        file->read_exact(begin, end - begin, buffer.data());
        for (uint64_t r = begin / records.record_bytes; r * records.record_bytes < end; ++r) {
          const auto content = std::span<const std::byte>(buffer.span())
                                   .subspan(r * records.record_bytes - begin, records.bytes_of(r));
          if (checksum(content) == records.xxh3[r]) continue;
          const std::scoped_lock lock(mutex);
          damaged.insert(r);
        }
        const std::scoped_lock lock(mutex);
        report_.bytes += end - begin;
        if (std::this_thread::get_id() == caller) progress->update(report_.bytes);
      });
    });
    error.rethrow();
    report_.records += static_cast<int64_t>(records.count());
    for (const uint64_t r : damaged) {
      report_.damaged.push_back({name, whole ? -1 : static_cast<int64_t>(r),
                                 r * records.record_bytes, records.bytes_of(r),
                                 "does not have its checksum"});
    }
  }

  // Files that the manifest does not know would not be missed, but were never checked either.
  void look_for_others() {
    std::set<std::string> known = {format::kStoreManifestName, format::kStoreChecksumName};
    for (const auto& file : manifest_.weights) known.insert(file.name);
    for (const auto& file : manifest_.companions) known.insert(file.name);
    std::error_code error;
    for (fs::directory_iterator entry(folder_, error), end; !error && entry != end;
         entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      if (!known.contains(name)) log_warn("{}: is not part of the store", entry->path().string());
    }
  }

  const std::string folder_;
  const format::StoreManifest manifest_;
  ThreadPool pool_;
  uint64_t total_bytes_ = 0;
  VerifyReport report_;
};

}  // namespace

VerifyReport verify_store(const std::string& folder) {
  if (!format::is_store(folder)) {
    throw_error(ErrorCode::kUsage,
                "{}: is no packed store (it has no {}); only stores have checksums to verify",
                folder, format::kStoreManifestName);
  }
  return Verifier(folder).verify();
}

}  // namespace flashmoe::convert

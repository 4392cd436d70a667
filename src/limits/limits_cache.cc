#include "limits/limits_cache.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "limits/machine_name.h"
#include "limits/machine_probe.h"

namespace flashmoe::limits {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr size_t kMostFileBytes = size_t{1} << 20;
constexpr size_t kMostEntries = 1000;  // of each kind; the oldest go

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// A rate as it may be in a file: finite and not negative.
std::optional<double> rate(const Json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number()) return std::nullopt;
  const double value = it->get<double>();
  if (!std::isfinite(value) || value < 0) return std::nullopt;
  return value;
}

// The entry by its key, which becomes the last.
template <typename Entries, typename Rates>
void put(Entries* entries, const std::string& key, const Rates& rates) {
  std::erase_if(*entries, [&](const auto& entry) { return entry.key == key; });
  entries->push_back({key, rates});
  if (entries->size() > kMostEntries) entries->erase(entries->begin());
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMostFileBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text.size() > kMostFileBytes ? "" : text;
}

}  // namespace

std::string default_cache_path() {
  std::string folder = variable("XDG_CACHE_HOME");
  if (folder.empty() && !variable("HOME").empty()) folder = variable("HOME") + "/.cache";
  return folder.empty() ? "" : folder + "/flashmoe/limits.json";
}

std::string machine_key(int threads) {
  return fmt::format("{}, {} threads", machine_name(), threads);
}

std::string disk_key(const std::string& file, size_t read_bytes) {
  struct stat info = {};
  if (stat(file.c_str(), &info) != 0) {
    throw_error(ErrorCode::kNotFound, "{}: cannot be measured: there is no such file", file);
  }
  return fmt::format("device {}, {} bytes", static_cast<uint64_t>(info.st_dev), read_bytes);
}

LimitsCache::LimitsCache(std::string path) : path_(std::move(path)) { reload(); }

void LimitsCache::forget() {
  machines_.clear();
  disks_.clear();
  save();
}

void LimitsCache::reload() {
  if (path_.empty()) return;
  const Json json = Json::parse(read_file(path_), nullptr, false);
  if (!json.is_object() || json.value("version", Json()) != Json(kVersion)) return;
  const auto each = [&](const char* kind, const auto& take) {
    const auto it = json.find(kind);
    if (it == json.end() || !it->is_array()) return;
    for (const Json& entry : *it) {
      if (!entry.is_object() || !entry.contains("of") || !entry["of"].is_string()) continue;
      take(entry, entry["of"].get<std::string>());
    }
  };
  each("machines", [&](const Json& entry, const std::string& key) {
    const auto memory = rate(entry, "memory_bytes_s"), int8 = rate(entry, "int8_ops_s");
    if (memory && int8) put(&machines_, key, MachineRates{*memory, *int8});
  });
  each("disks", [&](const Json& entry, const std::string& key) {
    const auto uring = rate(entry, "uring_bytes_s"), pread = rate(entry, "pread_bytes_s"),
               buffered = rate(entry, "buffered_bytes_s");
    if (uring && pread && buffered) put(&disks_, key, DiskRates{*uring, *pread, *buffered});
  });
}

void LimitsCache::save() {
  if (path_.empty()) return;
  Json json = {{"version", kVersion}, {"machines", Json::array()}, {"disks", Json::array()}};
  for (const NamedMachine& m : machines_) {
    json["machines"].push_back({{"of", m.key},
                                {"memory_bytes_s", m.rates.memory_bytes_s},
                                {"int8_ops_s", m.rates.int8_ops_s}});
  }
  for (const NamedDisk& d : disks_) {
    json["disks"].push_back({{"of", d.key},
                             {"uring_bytes_s", d.rates.uring_bytes_s},
                             {"pread_bytes_s", d.rates.pread_bytes_s},
                             {"buffered_bytes_s", d.rates.buffered_bytes_s}});
  }
  try {
    std::error_code error;  // what is wrong shows when the file is made
    fs::create_directories(fs::path(path_).parent_path(), error);
    AtomicFile file(path_);
    file.write(json.dump(1) + "\n");
    file.commit();
  } catch (const Error& error) {
    if (!notes_.empty()) return;  // it was said
    notes_.push_back(
        fmt::format("what was measured of this machine is not kept: {}", error.what()));
  }
}

std::optional<MachineRates> LimitsCache::known_machine(int threads) const {
  const auto it = std::ranges::find(machines_, machine_key(threads), &NamedMachine::key);
  if (it == machines_.end()) return std::nullopt;
  return it->rates;
}

MachineRates LimitsCache::machine(int threads) {
  if (const auto known = known_machine(threads); known) return *known;
  log_debug("measuring memory and arithmetic with {} threads", threads);
  ThreadPool pool(threads);
  MachineProbe probe(pool);
  // The best of a few looks: what is kept must not be what another program left at this moment.
  constexpr int kLooks = 4;
  MachineRates rates;
  for (int look = 0; look < kLooks; ++look) {
    rates.memory_bytes_s = std::max(
        rates.memory_bytes_s, probe.memory_bytes_s(2 * MachineProbe::kMemorySeconds / kLooks));
    rates.int8_ops_s =
        std::max(rates.int8_ops_s, probe.int8_ops_s(2 * MachineProbe::kInt8Seconds / kLooks));
  }
  put(&machines_, machine_key(threads), rates);
  save();
  return rates;
}

std::optional<DiskRates> LimitsCache::known_disk(const std::string& file, size_t read_bytes) const {
  const auto it = std::ranges::find(disks_, disk_key(file, read_bytes), &NamedDisk::key);
  if (it == disks_.end()) return std::nullopt;
  return it->rates;
}

DiskRates LimitsCache::disk(const std::string& file, size_t read_bytes) {
  if (const auto known = known_disk(file, read_bytes)) return *known;
  log_debug("measuring how fast {} is read", file);
  DiskProbeOptions options;
  options.read_bytes = read_bytes;
  const DiskRates rates = measure_disk(file, options);
  put(&disks_, disk_key(file, read_bytes), rates);
  save();
  return rates;
}

}  // namespace flashmoe::limits

// What was measured of this machine before, in a small file, so that nobody waits for it twice.
// Owns the file's form and when a measurement is made anew. A file that is damaged, foreign or of
// another version counts as empty; one that cannot be written costs a note, never a failure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "limits/disk_probe.h"

namespace flashmoe::limits {

struct MachineRates {
  double memory_bytes_s = 0;
  double int8_ops_s = 0;
};

// $XDG_CACHE_HOME/flashmoe/limits.json, else ~/.cache/flashmoe/limits.json; empty where there is
// neither.
std::string default_cache_path();

// Keys name what a figure is of: a processor and its threads, a disk and the size of a read.
std::string machine_key(int threads);
// By the device number of the file system. Throws Error kNotFound when there is no such file.
std::string disk_key(const std::string& file, size_t read_bytes);

class LimitsCache {
 public:
  static constexpr int kVersion = 2;  // 1 kept single looks, some of them at a bad moment

  // Reads what is there; an empty path keeps nothing.
  explicit LimitsCache(std::string path = default_cache_path());

  // About 0.8 s and MachineProbe::kBufferBytes of memory when it has to measure.
  MachineRates machine(int threads);
  // What is known, without measuring.
  std::optional<MachineRates> known_machine(int threads) const;
  // Up to 1.2 s and 64 MiB of memory when it has to measure.
  DiskRates disk(const std::string& file, size_t read_bytes);
  std::optional<DiskRates> known_disk(const std::string& file, size_t read_bytes) const;

  // Everything is to be measured anew, also by others who use the file.
  void forget();
  // What others have written in the meantime.
  void reload();

  // Why something could not be kept.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  void save();

  struct NamedMachine {
    std::string key;
    MachineRates rates;
  };
  struct NamedDisk {
    std::string key;
    DiskRates rates;
  };

  std::string path_;
  std::vector<NamedMachine> machines_;
  std::vector<NamedDisk> disks_;
  std::vector<std::string> notes_;
};

}  // namespace flashmoe::limits

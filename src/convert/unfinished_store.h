// A packed store that is being written, in a folder of its own beside its place, and the journal of
// what is finished in it, so that a later run can go on. Owns the folder, the journal and a lock
// against a second writer; knows no weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace flashmoe::convert {

class UnfinishedStore {
 public:
  // Takes up what an earlier run left for `destination`, or begins. `plan` stands for everything
  // that the result depends on. Throws Error kUsage when `destination` is there and not empty, when
  // what was left is of another plan, or while another process writes it; kNotFound without a
  // folder to put it in; kIo.
  UnfinishedStore(const std::string& destination, uint64_t plan);
  ~UnfinishedStore();
  UnfinishedStore(const UnfinishedStore&) = delete;
  UnfinishedStore& operator=(const UnfinishedStore&) = delete;

  // Everything was written before; only the traces of that have been removed.
  bool was_finished() const { return was_finished_; }
  const std::filesystem::path& folder() const { return folder_; }  // where to write files
  const std::filesystem::path& around() const { return around_; }  // with the journal
  // The checksums of a file that is complete; nullptr when it is not.
  const std::vector<uint64_t>* finished(const std::string& file) const;
  // The file is on disk with these checksums.
  void add_finished(const std::string& file, const std::vector<uint64_t>& xxh3);
  // Throws Error kIo when the file system has less room left for this process.
  void check_space(uint64_t needed_bytes) const;
  // All files are on disk: gives the store its name and removes the rest.
  void commit();

 private:
  void lock();
  void read_journal(uint64_t plan);
  void append(const std::string& line);
  // What a killed run was writing, under whatever name.
  void remove_unfinished() const;
  void remove_traces();

  std::filesystem::path destination_, around_, folder_, journal_path_;
  int journal_ = -1;
  bool was_finished_ = false;
  std::map<std::string, std::vector<uint64_t>> finished_;
};

}  // namespace flashmoe::convert

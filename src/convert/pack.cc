#include "convert/pack.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/atomic_file.h"
#include "base/check.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/format_units.h"
#include "base/log.h"
#include "base/stop_signal.h"
#include "base/thread_pool.h"
#include "convert/first_error.h"
#include "convert/kept_files.h"
#include "convert/new_folder.h"
#include "convert/pack_layout.h"
#include "convert/unfinished_store.h"
#include "format/checkpoint.h"
#include "format/content_reader.h"
#include "format/flash_moe_folder.h"
#include "format/gguf_checkpoint.h"
#include "format/gguf_header.h"
#include "format/input_file.h"
#include "format/store.h"
#include "io/output_file.h"
#include "kernels/cpu/layout.h"
#include "kernels/make_backend.h"
#include "model/checkpoint_config.h"
#include "model/gguf_config.h"
#include "model/weights.h"

namespace flashmoe::convert {

namespace fs = std::filesystem;

namespace {

using format::StoreManifest;

constexpr uint64_t kHeadroomBytes = uint64_t{16} << 20;  // manifest and file system
constexpr uint64_t kUnitBytes = uint64_t{8} << 20;       // read and written at once
constexpr uint64_t kBufferBytes = uint64_t{512} << 20;   // of all threads, if records allow
constexpr int kThreads = 8;                              // reads and writes in flight

// A file beside the weights: another's copy, or a text of ours.
struct Companion {
  std::string name;
  fs::path source;  // empty: `text`
  std::string text;
};

bool is_gguf(const format::Checkpoint& source) { return model::has_gguf_config(source); }

std::vector<Companion> find_companions(const format::Checkpoint& source) {
  std::vector<Companion> companions;
  const fs::path folder = format::flash_moe_folder(source.path());
  for (const fs::path& file : kept_files(folder.string())) {
    companions.push_back({file.filename().string(), file, ""});
  }
  std::error_code ignored;
  if (is_gguf(source)) {
    const std::string metadata =
        format::is_gguf(source.path()) ? source.path() : format::store_text_source(source.path());
    companions.push_back({format::kStoreMetadataName, "", format::gguf_without_tensors(metadata)});
  } else if (fs::exists(folder / "config.json", ignored)) {
    companions.push_back({"config.json", folder / "config.json", ""});
  } else {
    companions.push_back({"config.json", "", source.config().dump(2) + "\n"});
  }
  std::sort(companions.begin(), companions.end(),
            [](const Companion& a, const Companion& b) { return a.name < b.name; });
  return companions;
}

// Stands for all that the result depends on: the layout, and the source's files as they are now.
uint64_t fingerprint(const format::Checkpoint& source, const StoreManifest& manifest,
                     const std::vector<Companion>& companions) {
  std::string text;
  const auto add = [&](const fs::path& path) {
    std::error_code error;
    const fs::path whole = fs::weakly_canonical(path, error);
    text += fmt::format("{} {} {}\n", whole.string(), fs::file_size(path),
                        fs::last_write_time(path).time_since_epoch().count());
  };
  for (const std::string& file : source.files()) add(file);
  for (const Companion& companion : companions) {
    if (companion.source.empty()) {
      text += companion.text;
    } else {
      add(companion.source);
    }
  }
  for (const StoreManifest::WeightFile& file : manifest.weights) {
    text +=
        fmt::format("{} {} {}\n", file.name, file.records.content_bytes, file.records.record_bytes);
    for (const auto& part : file.parts) text += fmt::format("{} {}\n", part.name, part.offset);
    for (const auto& tensor : file.tensors)
      text += fmt::format("{} {}\n", tensor.name, tensor.offset);
  }
  return checksum(std::as_bytes(std::span(text)));
}

class Packer {
 public:
  Packer(const format::Checkpoint& source, PackLayout layout, int threads)
      : reader_(source, format::Checksums::kVerify),
        layout_(std::move(layout)),
        pool_(threads > 0 ? threads : thread_count(layout_)) {
    for (int i = 0; i < pool_.threads(); ++i) free_buffers_.emplace_back(unit_bytes_max(layout_));
  }

  // Fills in the checksums of the manifest.
  PackReport write_weights(UnfinishedStore* store) {
    PackReport report;
    report.bytes = layout_.bytes();
    for (const StoreManifest::WeightFile& file : layout_.manifest.weights) {
      if (store->finished(file.name) != nullptr) report.resumed_bytes += file.records.content_bytes;
      report.expert_records += file.experts;
      ++report.files;
    }
    store->check_space(report.bytes - report.resumed_bytes + kHeadroomBytes);
    const auto start = std::chrono::steady_clock::now();
    Progress progress("packing", report.bytes - report.resumed_bytes);
    for (size_t f = 0; f < layout_.manifest.weights.size(); ++f) {
      format::FileRecords& records = layout_.manifest.weights[f].records;
      const std::string& name = layout_.manifest.weights[f].name;
      if (const std::vector<uint64_t>* xxh3 = store->finished(name)) {
        records.xxh3 = *xxh3;
        continue;
      }
      write_file(f, (store->folder() / name).string(), &progress);
      store->add_finished(name, records.xxh3);
    }
    report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report;
  }

  StoreManifest& manifest() { return layout_.manifest; }

 private:
  // Whole records.
  static uint64_t unit_bytes(const format::FileRecords& records) {
    return std::max<uint64_t>(kUnitBytes / records.record_bytes, 1) * records.record_bytes;
  }
  static uint64_t unit_bytes_max(const PackLayout& layout) {
    uint64_t most = 0;
    for (const auto& file : layout.manifest.weights) {
      most = std::max(most, unit_bytes(file.records));
    }
    return most;
  }
  static int thread_count(const PackLayout& layout) {
    const uint64_t fitting = std::max<uint64_t>(kBufferBytes / unit_bytes_max(layout), 2);
    return static_cast<int>(std::min<uint64_t>(kThreads, fitting));
  }

  void write_file(size_t number, const std::string& path, Progress* progress) {
    format::FileRecords& records = layout_.manifest.weights[number].records;
    records.xxh3.assign(records.count(), 0);
    const uint64_t unit = unit_bytes(records);
    const auto units = static_cast<int>((records.content_bytes + unit - 1) / unit);
    const io::OutputFile file(path);
    const auto caller = std::this_thread::get_id();
    FirstError error;
    pool_.run(units, [&](int i) {
      if (error.failed()) return;
      error.guard([&] {
        if (stop_requested()) throw Error(ErrorCode::kCancelled, "stopped");
        const uint64_t begin = static_cast<uint64_t>(i) * unit;
        const uint64_t end = std::min(begin + unit, records.content_bytes);
        write_unit(number, begin, end, file);
        const uint64_t done = done_bytes_ += end - begin;
        if (std::this_thread::get_id() == caller) progress->update(done);
      });
    });
    error.rethrow();
    file.sync();
  }

  // Brings together, checksums and writes [begin, end) of a file: whole records.
  void write_unit(size_t number, uint64_t begin, uint64_t end, const io::OutputFile& file) {
    AlignedBuffer buffer = take_buffer();
    const std::span<std::byte> content = buffer.span().first(end - begin);
    const std::vector<PackLayout::Piece>& pieces = layout_.pieces[number];
    auto piece = std::partition_point(pieces.begin(), pieces.end(),
                                      [&](const auto& p) { return p.offset + p.bytes <= begin; });
    uint64_t filled = begin;
    for (; piece != pieces.end() && piece->offset < end; ++piece) {
      const uint64_t from = std::max(piece->offset, begin);
      const uint64_t to = std::min(piece->offset + piece->bytes, end);
      std::fill(content.begin() + static_cast<std::ptrdiff_t>(filled - begin),
                content.begin() + static_cast<std::ptrdiff_t>(from - begin), std::byte{0});
      if (piece->interleave) {
        interleave(*piece, content.data() + (from - begin));
      } else {
        reader_.read(piece->source.file, piece->source.offset + (from - piece->offset), to - from,
                     content.data() + (from - begin));
      }
      filled = to;
    }
    std::fill(content.begin() + static_cast<std::ptrdiff_t>(filled - begin), content.end(),
              std::byte{0});
    format::FileRecords& records = layout_.manifest.weights[number].records;
    for (uint64_t r = begin / records.record_bytes; r * records.record_bytes < end; ++r) {
      records.xxh3[r] =
          checksum(content.subspan(r * records.record_bytes - begin, records.bytes_of(r)));
    }
    file.write(begin, content);
    give_back(std::move(buffer));
  }

  // A whole matrix: units of files with such pieces are whole records.
  void interleave(const PackLayout::Piece& piece, std::byte* destination) {
    const PackLayout::RowMatrix& matrix = *piece.interleave;
    thread_local std::vector<std::byte> rows;
    rows.resize(piece.source.bytes + matrix.scales.bytes + matrix.biases.bytes);
    std::byte* scales = rows.data() + piece.source.bytes;
    std::byte* biases = scales + matrix.scales.bytes;
    reader_.read(piece.source, rows.data());
    if (matrix.scales.bytes > 0) reader_.read(matrix.scales, scales);
    if (matrix.biases.bytes > 0) reader_.read(matrix.biases, biases);
    kernels::cpu::prepare({matrix.format, matrix.rows, matrix.cols, rows.data(), scales, biases}, 0,
                          matrix.rows, destination);
  }

  AlignedBuffer take_buffer() {
    const std::scoped_lock lock(mutex_);
    CHECK(!free_buffers_.empty());
    AlignedBuffer buffer = std::move(free_buffers_.back());
    free_buffers_.pop_back();
    return buffer;
  }
  void give_back(AlignedBuffer buffer) {
    const std::scoped_lock lock(mutex_);
    free_buffers_.push_back(std::move(buffer));
  }

  const format::ContentReader reader_;
  PackLayout layout_;
  ThreadPool pool_;
  std::atomic<uint64_t> done_bytes_{0};
  std::mutex mutex_;
  std::vector<AlignedBuffer> free_buffers_;  // one for each thread at most
};

void write_text(const fs::path& path, std::string_view text) {
  AtomicFile file(path.string());
  file.write(text);
  file.commit();
}

void write_companions(const std::vector<Companion>& companions, const fs::path& folder,
                      StoreManifest* manifest) {
  for (const Companion& companion : companions) {
    const fs::path path = folder / companion.name;
    if (companion.source.empty()) {
      write_text(path, companion.text);
    } else {
      copy_whole(companion.source, path);
    }
    const io::File file(path.string());
    const std::string text = format::read_text(file, 0, file.size());
    manifest->companions.push_back(
        {companion.name, file.size(), checksum(std::as_bytes(std::span(text)))});
  }
}

}  // namespace

PackReport pack(const std::string& source_path, const std::string& destination, int threads) {
  const auto source = format::Checkpoint::open(source_path);
  for (const std::string& note : source->notes()) log_info("note: {}", note);
  const model::ModelConfig config = model::read_model_config(*source);
  PackLayout layout;
  {
    // Finds every tensor that running the model takes, as running it would.
    ThreadPool pool(1);
    const auto backend = kernels::make_backend("ref", pool);
    const model::WeightsPlan weights(*source, config, *backend);
    layout = plan_pack(*source, weights.expert_index());
  }
  layout.manifest.convention = is_gguf(*source) ? format::kStoreGguf : format::kStoreSafetensors;
  const std::vector<Companion> companions = find_companions(*source);
  UnfinishedStore store(destination, fingerprint(*source, layout.manifest, companions));
  if (store.was_finished()) {
    log_info("{}: was complete already", destination);
    PackReport report;
    report.destination = destination;
    report.bytes = report.resumed_bytes = layout.bytes();
    return report;
  }
  try {
    Packer packer(*source, std::move(layout), threads);
    PackReport report = packer.write_weights(&store);
    report.destination = destination;
    write_companions(companions, store.folder(), &packer.manifest());
    const std::string manifest = format::store_manifest_text(packer.manifest());
    write_text(store.folder() / format::kStoreManifestName, manifest);
    write_text(store.folder() / format::kStoreChecksumName,
               checksum_text(checksum(std::as_bytes(std::span(manifest)))) + "\n");
    store.commit();
    return report;
  } catch (const Error& error) {
    throw_error(error.code(),
                "{}; the same command goes on where this one ended, or delete what it wrote: "
                "rm -r '{}'",
                error.what(), store.around().string());
  }
}

}  // namespace flashmoe::convert

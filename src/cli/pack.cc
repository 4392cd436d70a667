// flashmoe pack: a model as a store of aligned records with checksums, and checking such a store.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/format_units.h"
#include "base/log.h"
#include "base/stop_signal.h"
#include "cli/commands.h"
#include "cli/locate.h"
#include "convert/pack.h"
#include "convert/verify_store.h"

namespace flashmoe::cli {

namespace {

using Json = nlohmann::ordered_json;

double rate(uint64_t bytes, double seconds) {
  return seconds > 0 ? static_cast<double>(bytes) / 1e9 / seconds : 0;
}

Json pack_json(const convert::PackReport& r) {
  const uint64_t written = r.bytes - r.resumed_bytes;
  return {{"store", r.destination},   {"bytes", r.bytes},
          {"written_bytes", written}, {"resumed_bytes", r.resumed_bytes},
          {"files", r.files},         {"expert_records", r.expert_records},
          {"seconds", r.seconds},     {"gb_s", rate(written, r.seconds)}};
}

Json verify_json(const std::string& store, const convert::VerifyReport& r) {
  Json json = {{"store", store},   {"files", r.files},     {"records", r.records},
               {"bytes", r.bytes}, {"seconds", r.seconds}, {"gb_s", rate(r.bytes, r.seconds)}};
  json["damaged"] = Json::array();
  for (const convert::Damage& d : r.damaged) {
    Json entry = {{"file", d.file}};
    if (d.record >= 0) entry["record"] = d.record;
    entry["offset"] = d.offset;
    entry["bytes"] = d.bytes;
    entry["what"] = d.what;
    json["damaged"].push_back(std::move(entry));
  }
  return json;
}

// Throws unless the store is whole.
Json verify(const std::string& store, bool json) {
  const convert::VerifyReport report = convert::verify_store(store);
  for (const convert::Damage& d : report.damaged) {
    const std::string where = d.record >= 0 ? fmt::format("record {} at offset {} ({} bytes) ",
                                                          d.record, d.offset, d.bytes)
                                            : "";
    log_warn("{}/{}: {}{}", store, d.file, where, d.what);
  }
  Json result = verify_json(store, report);
  if (!report.damaged.empty()) {
    if (json) fmt::print("{}\n", result.dump());
    const convert::Damage& first = report.damaged.front();
    throw_error(ErrorCode::kCorrupt,
                "{}: {} of {} records and files are damaged, first {}/{}{}; pack the model again",
                store, report.damaged.size(), report.records, store, first.file,
                first.record >= 0 ? fmt::format(", record {}", first.record) : "");
  }
  if (!json) {
    fmt::print("{}: all {} records in {} files are as they were packed ({}, {:.2f} GB/s)\n", store,
               report.records, report.files, format_bytes(report.bytes),
               rate(report.bytes, report.seconds));
  }
  return result;
}

}  // namespace

int pack(const PackCommandOptions& o) {
  install_stop_signal();
  if (o.destination.empty()) {
    if (!o.verify) {
      throw Error(ErrorCode::kUsage,
                  "pack takes a model and the folder to write: flashmoe pack SRC OUT; to check a "
                  "store: flashmoe pack --verify STORE");
    }
    const Json report = verify(model_folder(o.source), o.json);
    if (o.json) fmt::print("{}\n", report.dump());
    return 0;
  }
  const convert::PackReport report =
      convert::pack(model_folder(o.source), o.destination, o.threads);
  Json json = pack_json(report);
  if (!o.json) {
    fmt::print("{}: {} in {} files, {} expert records; wrote {} in {:.1f} s ({:.2f} GB/s){}\n",
               report.destination, format_bytes(report.bytes), report.files, report.expert_records,
               format_bytes(report.bytes - report.resumed_bytes), report.seconds,
               rate(report.bytes - report.resumed_bytes, report.seconds),
               report.resumed_bytes > 0
                   ? fmt::format(", {} were there", format_bytes(report.resumed_bytes))
                   : "");
  }
  if (o.verify) json["verified"] = verify(o.destination, o.json);
  if (o.json) fmt::print("{}\n", json.dump());
  return 0;
}

}  // namespace flashmoe::cli

// A recorded routing: which experts every layer picked for every row of every step. Owns the
// file format and the picks in memory; knows nothing of weights or caches.
//
// The file, all numbers little-endian:
//   "fmroutes"  u32 version = 1  u32 flags (1: with early picks)
//   u32 layers  u32 experts  u32 k  u32 n  n bytes: name of the model, UTF-8
//   then for each step, up to the file's end:
//   u32 rows  u16 picks [layers, rows, k]  and with early picks: u16 early [layers, rows, k]
// Picks of a row and layer differ and come most probable first. Early picks are a guess made one
// layer ahead (RouteTap::on_early_routes); a layer without a guess has kNoPick throughout.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "experts/route_tap.h"

namespace flashmoe::experts {

constexpr uint16_t kNoPick = 0xffff;
constexpr int kMaxTraceLayers = 4096;
constexpr int kMaxTraceExperts = 0xffff;
constexpr int64_t kMaxTraceRows = 1 << 20;  // of one step

struct TraceStep {
  int64_t rows = 0;
  std::vector<uint16_t> picks;  // [layers, rows, k]
  std::vector<uint16_t> early;  // the same, or empty
};

struct RoutingTrace {
  std::string model;
  RoutingShape shape;
  std::vector<TraceStep> steps;

  int64_t rows() const;
};

// Throws Error: kNotFound, kUnsupported for another version, kCorrupt with the offset. Takes
// memory in proportion to the file.
RoutingTrace read_routing_trace(const std::string& path);
// The same from a stream of `bytes` bytes; `name` is for messages.
RoutingTrace read_routing_trace(std::istream& stream, uint64_t bytes, const std::string& name);

// Writes a trace step by step. The file appears under its name in `finish`, and never if that is
// not called.
class RoutingTraceWriter {
 public:
  // Throws Error kUnsupported when the shape is beyond the format.
  RoutingTraceWriter(const std::string& path, const std::string& model, const RoutingShape& shape,
                     bool early);
  void write(const TraceStep& step);
  void finish();
  uint64_t written_bytes() const { return file_.written_bytes(); }

 private:
  AtomicFile file_;
  RoutingShape shape_;
  bool early_;
};

}  // namespace flashmoe::experts

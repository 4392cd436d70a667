#include "experts/routing_trace.h"

#include <bit>
#include <cstring>
#include <fstream>
#include <span>

#include "base/check.h"
#include "base/error.h"

namespace flashmoe::experts {

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written from memory");

constexpr std::string_view kMagic = "fmroutes";
constexpr uint32_t kVersion = 1;
constexpr uint32_t kEarlyFlag = 1;
constexpr uint32_t kMaxNameBytes = 4096;

// A stream read from front to back, which knows where it is.
class Cursor {
 public:
  Cursor(std::istream& stream, uint64_t bytes, const std::string& name)
      : stream_(stream), bytes_(bytes), name_(name) {}

  bool at_end() const { return offset_ == bytes_; }
  uint64_t left() const { return bytes_ - offset_; }

  template <typename... Args>
  [[noreturn]] void corrupt(fmt::format_string<Args...> what, Args&&... args) const {
    throw_error(ErrorCode::kCorrupt, "{}: {} at offset {}; record the routing again", name_,
                fmt::format(what, std::forward<Args>(args)...), offset_);
  }
  void read(void* to, size_t n) {
    if (n > left()) corrupt("the routing trace ends where {} bytes more are due", n);
    stream_.read(static_cast<char*>(to), static_cast<std::streamsize>(n));
    if (static_cast<size_t>(stream_.gcount()) != n) {
      throw_error(ErrorCode::kIo, "{}: cannot be read at offset {}", name_, offset_);
    }
    offset_ += n;
  }
  uint32_t u32() {
    uint32_t value = 0;
    read(&value, sizeof(value));
    return value;
  }
  uint32_t u32(const char* what, uint32_t least, uint32_t most) {
    const uint32_t value = u32();
    if (value < least || value > most) {
      corrupt("{} is {}, not {} to {}, before", what, value, least, most);
    }
    return value;
  }

 private:
  std::istream& stream_;
  uint64_t bytes_;
  uint64_t offset_ = 0;
  const std::string& name_;
};

class PickReader {
 public:
  PickReader(Cursor& cursor, const RoutingShape& shape)
      : cursor_(cursor), shape_(shape), seen_(static_cast<size_t>(shape.experts), 0) {}

  std::vector<uint16_t> read(int64_t rows, bool may_lack) {
    const size_t count = static_cast<size_t>(shape_.picks() * rows);
    // Before memory is taken for them.
    if (count * sizeof(uint16_t) > cursor_.left()) {
      cursor_.corrupt("a step of {} rows goes beyond the end", rows);
    }
    std::vector<uint16_t> picks(count);
    cursor_.read(picks.data(), count * sizeof(uint16_t));
    const size_t k = static_cast<size_t>(shape_.k);
    for (size_t begin = 0; begin < count; begin += k) {
      check(std::span(picks).subspan(begin, k), may_lack);
    }
    return picks;
  }

 private:
  void check(std::span<const uint16_t> picks, bool may_lack) {
    ++row_;
    const bool lacks = may_lack && picks[0] == kNoPick;
    for (const uint16_t expert : picks) {
      if (lacks && expert == kNoPick) continue;
      if (lacks || expert >= shape_.experts) {
        cursor_.corrupt("there is an expert {} of {} in the step that ends", expert,
                        shape_.experts);
      }
      if (seen_[expert] == row_) {
        cursor_.corrupt("a row has expert {} twice in the step that ends", expert);
      }
      seen_[expert] = row_;
    }
  }

  Cursor& cursor_;
  const RoutingShape& shape_;
  std::vector<uint64_t> seen_;  // expert -> the last row that picked it
  uint64_t row_ = 0;
};

}  // namespace

int64_t RoutingTrace::rows() const {
  int64_t rows = 0;
  for (const TraceStep& step : steps) rows += step.rows;
  return rows;
}

RoutingTrace read_routing_trace(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamoff bytes = file ? static_cast<std::streamoff>(file.tellg()) : -1;
  if (bytes < 0 || !file.seekg(0)) {
    throw_error(ErrorCode::kNotFound, "{}: the routing trace cannot be opened", path);
  }
  return read_routing_trace(file, static_cast<uint64_t>(bytes), path);
}

RoutingTrace read_routing_trace(std::istream& stream, uint64_t bytes, const std::string& name) {
  Cursor cursor(stream, bytes, name);
  std::string magic(kMagic.size(), '\0');
  if (bytes >= magic.size()) cursor.read(magic.data(), magic.size());
  if (magic != kMagic) {
    throw_error(ErrorCode::kCorrupt, "{}: is not a routing trace; `run --record-routing` makes one",
                name);
  }
  if (const uint32_t version = cursor.u32(); version != kVersion) {
    throw_error(ErrorCode::kUnsupported, "{}: is a routing trace of version {}; {} is supported",
                name, version, kVersion);
  }
  const bool early = (cursor.u32("the field of flags", 0, kEarlyFlag) & kEarlyFlag) != 0;
  RoutingTrace trace;
  RoutingShape& shape = trace.shape;
  shape.layers = static_cast<int>(cursor.u32("the number of layers", 1, kMaxTraceLayers));
  const uint32_t experts = cursor.u32("the number of experts", 1, kMaxTraceExperts);
  shape.experts = static_cast<int>(experts);
  shape.k = static_cast<int>(cursor.u32("the number of experts of a row", 1, experts));
  const uint32_t name_bytes = cursor.u32("the length of the model's name", 0, kMaxNameBytes);
  trace.model.resize(name_bytes);
  cursor.read(trace.model.data(), name_bytes);

  PickReader picks(cursor, shape);
  while (!cursor.at_end()) {
    TraceStep step;
    step.rows = cursor.u32("a step's number of rows", 1, static_cast<uint32_t>(kMaxTraceRows));
    step.picks = picks.read(step.rows, false);
    if (early) step.early = picks.read(step.rows, true);
    trace.steps.push_back(std::move(step));
  }
  return trace;
}

RoutingTraceWriter::RoutingTraceWriter(const std::string& path, const std::string& model,
                                       const RoutingShape& shape, bool early)
    : file_(path), shape_(shape), early_(early) {
  if (shape.layers < 1 || shape.layers > kMaxTraceLayers || shape.experts > kMaxTraceExperts) {
    throw_error(ErrorCode::kUnsupported,
                "{}: a routing trace has 1 to {} layers of up to {} experts, not {} of {}", path,
                kMaxTraceLayers, kMaxTraceExperts, shape.layers, shape.experts);
  }
  const std::string name = model.substr(0, kMaxNameBytes);
  const uint32_t numbers[] = {kVersion,
                              early ? kEarlyFlag : 0,
                              static_cast<uint32_t>(shape.layers),
                              static_cast<uint32_t>(shape.experts),
                              static_cast<uint32_t>(shape.k),
                              static_cast<uint32_t>(name.size())};
  file_.write(kMagic);
  file_.write(std::as_bytes(std::span(numbers)));
  file_.write(name);
}

void RoutingTraceWriter::write(const TraceStep& step) {
  const size_t count = static_cast<size_t>(step.rows * shape_.picks());
  CHECK(step.rows > 0 && step.rows <= kMaxTraceRows && step.picks.size() == count);
  CHECK(step.early.size() == (early_ ? count : 0));
  const uint32_t rows = static_cast<uint32_t>(step.rows);
  file_.write(std::as_bytes(std::span(&rows, 1)));
  file_.write(std::as_bytes(std::span(step.picks)));
  file_.write(std::as_bytes(std::span(step.early)));
}

void RoutingTraceWriter::finish() { file_.commit(); }

}  // namespace flashmoe::experts

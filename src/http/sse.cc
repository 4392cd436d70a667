#include "http/sse.h"

#include "base/error.h"

namespace flashmoe::http {

namespace {
constexpr size_t kMaxEventBytes = size_t{64} << 20;
}

std::string sse_text(std::string_view data, std::string_view name) {
  std::string text;
  if (!name.empty()) {
    text += "event: ";
    text += name;
    text += '\n';
  }
  while (true) {
    const size_t end = data.find('\n');
    text += "data: ";
    text += data.substr(0, end);
    text += '\n';
    if (end == std::string_view::npos) break;
    data.remove_prefix(end + 1);
  }
  text += '\n';
  return text;
}

std::vector<SseEvent> SseReader::push(std::string_view piece) {
  std::vector<SseEvent> events;
  for (const char c : piece) {
    const bool second_of_pair = after_return_ && c == '\n';
    after_return_ = c == '\r';
    if (second_of_pair) continue;
    if (c != '\n' && c != '\r') {
      line_ += c;
      if (line_.size() + event_.data.size() > kMaxEventBytes) {
        throw_error(ErrorCode::kCorrupt, "an event of the stream is longer than {} bytes",
                    kMaxEventBytes);
      }
      continue;
    }
    take_line(line_, &events);
    line_.clear();
  }
  return events;
}

void SseReader::take_line(std::string_view line, std::vector<SseEvent>* events) {
  if (line.empty()) {
    if (has_data_) events->push_back(std::move(event_));
    event_ = {};
    has_data_ = false;
    return;
  }
  const size_t colon = line.find(':');
  const std::string_view field = line.substr(0, colon);
  std::string_view value =
      colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "event") {
    event_.name = value;
  } else if (field == "data") {
    if (has_data_) event_.data += '\n';
    event_.data += value;
    has_data_ = true;
  }
}

}  // namespace flashmoe::http

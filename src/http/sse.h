// Server-sent events: one event's text, and a reader of a stream of them. Owns no sockets.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace flashmoe::http {

struct SseEvent {
  std::string name;  // of its `event:` line; empty: none
  std::string data;
  bool operator==(const SseEvent&) const = default;
};

// "event: NAME\ndata: DATA\n\n", without the first line for an empty name. `data` may have lines.
std::string sse_text(std::string_view data, std::string_view name = {});

class SseReader {
 public:
  // The events that are whole with this piece of the stream. Throws Error kCorrupt when an event
  // grows beyond 64 MiB.
  std::vector<SseEvent> push(std::string_view piece);

 private:
  void take_line(std::string_view line, std::vector<SseEvent>* events);

  std::string line_;  // the beginning of a line
  SseEvent event_;
  bool has_data_ = false;
  bool after_return_ = false;  // the last line ended in \r: a \n belongs to it
};

}  // namespace flashmoe::http

// Answers from anywhere, cut anywhere: whole calls have JSON objects as arguments, the cut does not
// matter, and without calls nothing is lost.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "text/reasoning.h"
#include "text/tool_parser.h"
#include "text/utf8.h"

namespace {

using namespace flashmoe::text;

void check(bool condition) {
  if (!condition) std::abort();
}

struct Result {
  std::string content, calls;
  bool operator==(const Result&) const = default;
};

Result parse(std::string_view text, ToolFormat format, size_t size) {
  static const auto* const kTools = new std::vector<Tool>(read_tools(nlohmann::ordered_json::parse(
      R"([{"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"},
          "b": {"type": "integer"}, "c": {}}}}])")));
  ToolParser parser(format, *kTools, true);
  Result result;
  std::string arguments;
  const auto take = [&](const std::vector<ToolEvent>& events) {
    for (const ToolEvent& event : events) {
      if (event.kind == ToolEvent::kContent) {
        result.content += event.text;
        continue;
      }
      result.calls += std::to_string(event.kind) + event.text;
      if (event.kind == ToolEvent::kArguments) arguments += event.text;
      if (event.kind == ToolEvent::kCallEnd) {
        check(nlohmann::ordered_json::parse(arguments).is_object());
        arguments.clear();
      }
    }
  };
  // Pieces are whole characters, as StreamDecoder's are.
  for (size_t begin = 0, end = 0; end < text.size(); begin = end) {
    for (size_t i = 0; i < size && end < text.size(); ++i) {
      end += utf8_length(static_cast<unsigned char>(text[end]));
    }
    take(parser.push(text.substr(begin, end - begin)));
  }
  take(parser.finish());
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 4096) return 0;
  std::string text;
  utf8_append_lossy({reinterpret_cast<const char*>(data), size}, false, &text);
  for (const ToolFormat format : {ToolFormat::kNone, ToolFormat::kJson, ToolFormat::kXml}) {
    Result whole = parse(text, format, text.size() + 1);
    Result cut = parse(text, format, 1);
    check(whole.content == cut.content);
    if (whole.calls.empty()) check(whole.content == text && cut.calls.empty());
  }
  for (const bool inside : {false, true}) {
    std::string once, one_by_one;
    ReasoningSplitter a(inside), b(inside);
    const auto add = [](const std::vector<ReasoningSplitter::Piece>& pieces, std::string* out) {
      for (const auto& piece : pieces) {
        for (const char c : piece.text) (*out += piece.is_reasoning ? 'r' : 'a') += c;
      }
    };
    // The first two '|' are where the markers come.
    const size_t open = text.find('|'), close = text.find('|', std::min(open, text.size()) + 1);
    const auto feed = [&](ReasoningSplitter* splitter, size_t piece_bytes, std::string* out) {
      for (size_t at = 0; at < text.size();) {
        if (at == open && splitter->may_open()) splitter->open();
        if (at == close && splitter->inside()) splitter->close();
        size_t end = std::min(text.size(), at + piece_bytes);
        for (const size_t marker : {open, close}) {
          if (marker > at) end = std::min(end, marker);
        }
        add(splitter->push(std::string_view(text).substr(at, end - at)), out);
        at = end;
      }
      add(splitter->finish(), out);
    };
    feed(&a, text.size(), &once);
    feed(&b, 1, &one_by_one);
    check(once == one_by_one);
  }
  return 0;
}

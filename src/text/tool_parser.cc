#include "text/tool_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "text/partial_match.h"
#include "text/utf8.h"

namespace flashmoe::text {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kSpace = " \t\r\n";
constexpr std::string_view kFunctionOpen = "<function=";
constexpr std::string_view kFunctionClose = "</function>";
constexpr std::string_view kParameterOpen = "<parameter=";
constexpr std::string_view kParameterClose = "</parameter>";
constexpr size_t kMaxNameBytes = 512;

// As json.dumps(…, ensure_ascii=False) would, without the quotes.
std::string escaped(std::string_view text) {
  const std::string quoted =
      Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
  return quoted.substr(1, quoted.size() - 2);
}

// Whether `text` begins with `tag`, as far as there is text; `is_whole` tells whether all of it.
bool may_begin(std::string_view text, std::string_view tag, bool* is_whole) {
  *is_whole = text.starts_with(tag);
  return *is_whole || tag.starts_with(text);
}

// The model's spellings of true, false and null: templates print a call's history as Python does.
std::string python_word(std::string_view text) {
  if (text == "True") return "true";
  if (text == "False") return "false";
  return text == "None" ? "null" : std::string(text);
}

}  // namespace

void ToolParser::emit(ToolEvent event) {
  if (whole_calls_ && event.kind != ToolEvent::kContent) {
    held_.push_back(std::move(event));
  } else {
    events_.push_back(std::move(event));
  }
}

void ToolParser::content(std::string text) {
  if (text.empty()) return;
  if (!events_.empty() && events_.back().kind == ToolEvent::kContent) {
    events_.back().text += text;
  } else {
    events_.push_back({ToolEvent::kContent, std::move(text)});
  }
}

// Text of the call that is read.
void ToolParser::consume(size_t bytes) {
  raw_.append(pending_, 0, bytes);
  pending_.erase(0, bytes);
}

// False when nothing is left.
bool ToolParser::skip_space() {
  consume(std::min(pending_.find_first_not_of(kSpace), pending_.size()));
  return !pending_.empty();
}

void ToolParser::open_call() {
  raw_.clear();
  begun_ = has_arguments_ = false;
  early_arguments_.clear();
  tool_ = nullptr;
  spelled_ = Json::object();
  consume(kCallOpen.size());
  state_ = format_ == ToolFormat::kJson ? kBrace : kFunction;
}

void ToolParser::begin(std::string name) {
  begun_ = true;
  for (const Tool& tool : *tools_) {
    if (tool.name == name) tool_ = &tool;
  }
  emit({ToolEvent::kCallBegin, std::move(name), calls_});
}

void ToolParser::arguments(std::string text) {
  has_arguments_ = true;
  if (!begun_) {
    early_arguments_ += text;
  } else if (!text.empty()) {
    emit({ToolEvent::kArguments, std::move(text), calls_});
  }
}

void ToolParser::end_call() {
  emit({ToolEvent::kCallEnd, std::exchange(raw_, {}), calls_++});
  for (ToolEvent& event : held_) events_.push_back(std::move(event));
  held_.clear();
  after_call_ = true;
  state_ = kText;
}

void ToolParser::break_call() {
  held_.clear();
  if (begun_ && !whole_calls_) {
    emit({ToolEvent::kCallBroken, std::exchange(raw_, {}), calls_++});
  } else {
    content(before_call_ + std::exchange(raw_, {}));
  }
  after_call_ = false;
  state_ = kText;
}

bool ToolParser::step_text(bool is_last) {
  if (after_call_) {
    pending_.erase(0, std::min(pending_.find_first_not_of(kSpace), pending_.size()));
    if (pending_.empty()) return false;
  }
  const size_t open = pending_.find(kCallOpen);
  const bool opened = open != std::string::npos;
  size_t end = opened ? open : pending_.size();
  if (!opened && !is_last) end -= partial_match(pending_, kCallOpen);
  size_t text = end;
  if (opened || !is_last) {
    const size_t last = pending_.find_last_not_of(kSpace, end == 0 ? 0 : end - 1);
    text = end == 0 || last == std::string::npos ? 0 : last + 1;
  }
  if (text > 0) {
    content(pending_.substr(0, text));
    after_call_ = false;
  }
  if (!opened) {
    pending_.erase(0, text);
    return false;
  }
  // If the call breaks, it and the white space are text after all.
  before_call_ = pending_.substr(text, end - text);
  pending_.erase(0, end);
  open_call();
  return true;
}

bool ToolParser::step_json() {
  switch (state_) {
    case kArgsText:
    case kKeyText:
    case kNameText: {
      size_t bytes = 0;
      JsonScanner::Status status = JsonScanner::kMore;
      while (bytes < pending_.size() && status == JsonScanner::kMore) {
        status = scanner_.push(pending_[bytes++]);
      }
      const bool is_broken = status == JsonScanner::kInvalid;
      std::string text = pending_.substr(0, bytes - (is_broken ? 1 : 0));
      consume(bytes);
      if (is_broken) {
        if (state_ == kArgsText) arguments(std::move(text));
        break_call();
        return true;
      }
      if (state_ == kArgsText) {
        arguments(std::move(text));
        if (status == JsonScanner::kDone) state_ = kComma;
        return status == JsonScanner::kDone;
      }
      token_ += text;
      if (status == JsonScanner::kMore) return false;
      const Json parsed = Json::parse(token_, nullptr, false);
      if (!parsed.is_string()) {
        break_call();
      } else if (state_ == kKeyText) {
        key_ = parsed.get<std::string>();
        state_ = kColon;
      } else {
        begin(parsed.get<std::string>());
        if (has_arguments_) arguments(std::exchange(early_arguments_, {}));
        state_ = kComma;
      }
      return true;
    }
    default:
      break;
  }
  if (!skip_space()) return false;
  const char c = pending_[0];
  const auto start = [&](State next) {
    token_.clear();
    scanner_ = {};
    state_ = next;
  };
  if (state_ == kBrace && c == '{') {
    consume(1);
    state_ = kKey;
  } else if (state_ == kKey && c == '"') {
    start(kKeyText);
  } else if (state_ == kColon && c == ':') {
    consume(1);
    if (key_ == "name" && !begun_) {
      state_ = kName;
    } else if (key_ == "arguments" && !has_arguments_) {
      state_ = kArgs;
    } else {
      break_call();
    }
  } else if (state_ == kName && c == '"') {
    start(kNameText);
  } else if (state_ == kArgs && c == '{') {
    start(kArgsText);
  } else if (state_ == kComma && c == ',') {
    consume(1);
    state_ = kKey;
  } else if (state_ == kComma && c == '}' && begun_) {
    consume(1);
    if (!has_arguments_) arguments("{}");
    state_ = kClose;
  } else {
    break_call();
  }
  return true;
}

bool ToolParser::step_xml() {
  if (!skip_space()) return false;
  bool is_function_end = false, is_tag = false;
  const std::string_view tag = state_ == kFunction ? kFunctionOpen : kParameterOpen;
  const bool may_end =
      state_ == kParameter && may_begin(pending_, kFunctionClose, &is_function_end);
  if (is_function_end) {
    consume(kFunctionClose.size());
    arguments(spelled_.empty() ? "{}" : "}");
    emit({ToolEvent::kSpelledArguments,
          spelled_.dump(-1, ' ', false, Json::error_handler_t::replace), calls_});
    state_ = kClose;
    return true;
  }
  const bool may_tag = may_begin(pending_, tag, &is_tag);
  const size_t end = pending_.find('>');
  const std::string_view head = std::string_view(pending_).substr(0, end);
  if ((!may_tag && !may_end) || head.size() > kMaxNameBytes ||
      head.find('\n') != std::string_view::npos) {
    break_call();
    return true;
  }
  if (!is_tag || end == std::string::npos) return false;
  const std::string name(head.substr(tag.size()));
  consume(end + 1);
  if (state_ == kFunction) {
    begin(name);
    state_ = kParameter;
  } else {
    begin_value(name);
  }
  return true;
}

void ToolParser::begin_value(const std::string& name) {
  const Json schema = tool_ == nullptr ? Json(nullptr) : tool_->parameter(name);
  types_ = json_types(schema, tool_ == nullptr ? schema : tool_->parameters);
  arguments(fmt::format("{}\"{}\": ", spelled_.empty() ? "{" : ", ", escaped(name)));
  value_name_ = name;
  spelled_[name] = "";
  token_.clear();
  if (types_.only_string()) arguments("\"");
  state_ = kValueHead;
}

bool ToolParser::step_value() {
  if (state_ == kValueHead) {
    if (pending_.empty()) return false;
    if (pending_[0] == '\n') consume(1);
    state_ = kValue;
  }
  const size_t close = pending_.find(kParameterClose);
  const bool closed = close != std::string::npos;
  size_t end = closed ? close : pending_.size() - partial_match(pending_, kParameterClose);
  const size_t tag = end;
  if (end > 0 && pending_[end - 1] == '\n') --end;
  std::string text = pending_.substr(0, end);
  token_ += text;
  if (types_.only_string()) arguments(escaped(text));
  if (!closed) {
    consume(end);
    return false;
  }
  consume(tag + kParameterClose.size());
  end_value();
  state_ = kParameter;
  return true;
}

void ToolParser::end_value() {
  spelled_[value_name_] = token_;
  if (types_.only_string()) return arguments("\"");
  const auto first = token_.find_first_not_of(kSpace);
  const auto last = token_.find_last_not_of(kSpace);
  const std::string text =
      first == std::string::npos ? "" : python_word(token_.substr(first, last + 1 - first));
  const Json value = Json::parse(text, nullptr, false);
  if (!value.is_discarded() && types_.allows(value)) {
    arguments(text);
  } else {
    arguments(fmt::format("\"{}\"", escaped(token_)));
  }
}

bool ToolParser::step_close(bool is_last) {
  if (!skip_space()) {
    // The model may end its answer before the tag.
    if (is_last) end_call();
    return false;
  }
  bool is_close = false;
  if (!may_begin(pending_, kCallClose, &is_close)) {
    break_call();
    return true;
  }
  if (!is_close) return false;
  consume(kCallClose.size());
  end_call();
  return true;
}

bool ToolParser::step(bool is_last) {
  switch (state_) {
    case kText:
      return step_text(is_last);
    case kFunction:
    case kParameter:
      return step_xml();
    case kValueHead:
    case kValue:
      return step_value();
    case kClose:
      return step_close(is_last);
    default:
      return step_json();
  }
}

std::vector<ToolEvent> ToolParser::push(std::string_view text) {
  if (format_ == ToolFormat::kNone) {
    content(std::string(text));
    return std::exchange(events_, {});
  }
  pending_ += text;
  while (step(false)) {
  }
  return std::exchange(events_, {});
}

std::vector<ToolEvent> ToolParser::finish() {
  while (step(true)) {
  }
  if (state_ != kText) {
    raw_ += std::exchange(pending_, {});
    break_call();
  }
  return std::exchange(events_, {});
}

}  // namespace flashmoe::text

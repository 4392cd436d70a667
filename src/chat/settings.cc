#include "chat/settings.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "base/error.h"

namespace flashmoe::chat {

namespace {

struct Number {
  const char* name;  // as in the API
  double min, max;
  bool whole;
  const char* help;
};

constexpr double kMany = 9007199254740992.0;  // 2^53: whole in JSON everywhere
constexpr Number kNumbers[] = {
    {"temperature", 0, 10, false, "0: always the most probable token"},
    {"top_p", 0, 1, false, "only the most probable tokens that together reach it"},
    {"top_k", 0, 1e6, true, "only so many of the most probable tokens; 0: all"},
    {"min_p", 0, 1, false, "only tokens at least so many times as probable as the first"},
    {"repetition_penalty", 0.1, 10, false, "above 1 discourages repetition"},
    {"presence_penalty", -2, 2, false, "taken once off tokens already used"},
    {"frequency_penalty", -2, 2, false, "taken off for each time used"},
    {"max_tokens", 1, kMany, true, "the longest answer"},
    {"seed", 0, kMany, true, "equal seeds give equal answers"},
};

const char* show_think_name(ShowThink show) {
  switch (show) {
    case ShowThink::kHide:
      return "hide";
    case ShowThink::kDim:
      return "dim";
    case ShowThink::kShow:
      break;
  }
  return "show";
}

std::string reasoning_text(const text::Thinking& reasoning) {
  if (!reasoning.enabled) return "default";
  if (!*reasoning.enabled) return "off";
  return reasoning.budget < 0 ? "on" : std::to_string(reasoning.budget);
}

}  // namespace

ShowThink parse_show_think(const std::string& text) {
  for (const ShowThink show : {ShowThink::kHide, ShowThink::kDim, ShowThink::kShow}) {
    if (text == show_think_name(show)) return show;
  }
  throw_error(ErrorCode::kUsage, "reasoning can be shown as hide, dim or show, not '{}'", text);
}

void Settings::set(const std::string& name, const std::string& value) {
  if (name == "show-think") {
    show_think = value == "default" ? ShowThink::kHide : parse_show_think(value);
    return;
  }
  if (name == "reasoning") {
    reasoning = value == "default" ? text::Thinking() : text::parse_thinking(value, name);
    return;
  }
  for (const Number& number : kNumbers) {
    if (name != number.name) continue;
    if (value == "default") {
      request.erase(name);
      return;
    }
    double given = 0;
    const auto [rest, error] = std::from_chars(value.data(), value.data() + value.size(), given);
    if (error != std::errc() || rest != value.data() + value.size() || !(given >= number.min) ||
        !(given <= number.max) || (number.whole && given != std::floor(given))) {
      throw_error(ErrorCode::kUsage, "{} is a {} from {} to {}, not '{}'", name,
                  number.whole ? "whole number" : "number", number.min, number.max, value);
    }
    if (number.whole) {
      request[name] = static_cast<int64_t>(given);
    } else {
      request[name] = given;
    }
    return;
  }
  throw_error(ErrorCode::kUsage, "there is no setting '{}'; /set alone lists them", name);
}

std::string Settings::list() const {
  std::string text;
  const auto add = [&](const std::string& name, const std::string& value, const char* help) {
    text += fmt::format("  {:<20} {:<10} {}\n", name, value, help);
  };
  for (const Number& number : kNumbers) {
    add(number.name, request.contains(number.name) ? request[number.name].dump() : "default",
        number.help);
  }
  add("reasoning", reasoning_text(reasoning),
      "whether the model reasons before it answers: on, off, or at most so many tokens");
  add("show-think", show_think_name(show_think), "how reasoning is shown: hide, dim or show");
  return text;
}

}  // namespace flashmoe::chat
